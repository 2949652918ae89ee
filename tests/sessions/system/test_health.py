"""What a system says of itself while a part of it is down, and once it is back: the store, the broker, each worker."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from agentbus.composition import supervision
from agentbus.composition.app import installed
from agentbus.composition.workers import make_session_worker
from agentbus.sessions import SessionSystem
from agentbus.sessions.config import make_config
from agentbus.settings import load_settings
from tests.chaos.system.proxy import Proxy
from tests.harness.patience import PATIENCE

WORKERS = ("session_worker", "sync_worker", "backup_worker", "tracking_worker", "expiry_worker")


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "_PAUSES", (0.01, 0.02))


async def until(system: SessionSystem, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Ask for the health until it is as wanted; return its checks."""
    async with asyncio.timeout(PATIENCE):
        while not wanted((await system.get_health_check())["checks"]):
            await asyncio.sleep(0.02)
    return dict((await system.get_health_check())["checks"])


async def status_of(system: SessionSystem) -> str:
    return str((await system.get_system_status())["system"]["status"])


async def test_each_worker_that_is_down_is_named_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(enable_all_features=True, backup_dir=tmp_path, enable_cleanup=False, partitions=4)
    async with SessionSystem(config) as system:
        assert await status_of(system) == "running"
        assert (await system.get_health_check())["checks"].keys() == {*WORKERS, "store"}
        assert system._running
        for name in WORKERS:
            worker = system._running._at_work[name]
            gate, start = asyncio.Event(), type(worker).start

            async def gated(
                self: Any, gate: asyncio.Event = gate, start: Callable[[Any], Awaitable[None]] = start
            ) -> None:
                await gate.wait()
                await start(self)

            with monkeypatch.context() as patched:
                patched.setattr(type(worker), "start", gated)
                await worker.close()
                checks = await until(system, lambda checks, name=name: not checks[name]["healthy"])  # type: ignore[misc] # of this round
                assert [one for one, check in checks.items() if not check["healthy"]] == [name]
                assert checks[name]["state"] == "restarting"
                assert await status_of(system) == "degraded"
                assert not await system.get_health_check()
                gate.set()
                await until(system, lambda checks, name=name: checks[name]["healthy"])  # type: ignore[misc] # of this round
            assert await status_of(system) == "running"
            status = await system.get_system_status()
            assert status["components"][name]["restarts"] == 1
        await system.create_session("chat", "ann", "web")


async def test_a_worker_that_runs_and_does_not_work_is_no_healthy_one(monkeypatch: pytest.MonkeyPatch) -> None:
    config = make_config(enable_tracking=True, enable_cleanup=False, partitions=4)
    async with SessionSystem(config) as system:
        assert system._running
        worker = system._running._at_work["tracking_worker"]
        health = worker.health()
        stalled = type(health)(live=False, ready=False, lag=60.0, member=health.member)
        with monkeypatch.context() as patched:
            patched.setattr(worker, "health", lambda: stalled)
            assert not (await system.get_health_check())["checks"]["tracking_worker"]["healthy"]
            assert await status_of(system) == "degraded"
        assert await status_of(system) == "running"


async def test_a_store_that_does_not_answer_is_not_waited_for(
    system: SessionSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("agentbus.sessions.manager.ANSWERS_WITHIN", 0.01)
    monkeypatch.setattr("agentbus.sessions.system.ANSWERS_WITHIN", 0.01)
    with monkeypatch.context() as patched:
        patched.setattr(system._store, "info", silent)
        assert "no answer" in (await system.get_health_check())["checks"]["store"]["last_error"]
        patched.setattr(system._store.heads, "statistics", silent)
        status = await system.get_system_status()
        assert (status["system"]["status"], status["metrics"]["total_sessions"]) == ("degraded", None)


async def test_a_broker_that_is_down_is_named_and_comes_back(amqp_url: str, tmp_path: Path) -> None:
    path, url = tmp_path / "sessions.db", urlsplit(amqp_url)
    settings = load_settings(amqp_url=amqp_url, store_url=f"sqlite:///{path}", partitions=1, prefix="health")
    assert url.hostname
    assert url.port
    there = ((url.hostname, url.port),)
    async with installed(settings) as app, Proxy(*there) as proxy:
        worker = make_session_worker(app)
        await worker.start()
        try:
            config = make_config(
                storage_type="DATABASE",
                storage_config={"db_path": str(path)},
                amqp_url=amqp_url.replace(f"{url.hostname}:{url.port}", f"{url.hostname}:{proxy.port}"),
                prefix="health",
                partitions=1,
                enable_cleanup=False,
                call_timeout=PATIENCE,
            )
            async with SessionSystem(config) as system:
                await system.create_session("chat", "ann", "web")
                assert (await system.get_health_check())["checks"].keys() == {"broker", "session_workers", "store"}
                assert await status_of(system) == "running"
                proxy.targets = ()
                proxy.cut()
                checks = await until(system, lambda checks: not checks["broker"]["healthy"])
                assert checks["store"]["healthy"]
                assert checks["broker"]["last_error"]
                assert await status_of(system) == "degraded"
                proxy.targets = there
                await until(system, lambda checks: checks["broker"]["healthy"])
                assert await status_of(system) == "running"
                await system.create_session("another", "ann", "web")
                # Without a session worker, somewhere, calls are answered by nobody.
                await worker.close()
                checks = await until(system, lambda checks: not checks["session_workers"]["healthy"])
                assert "agentbus worker session" in checks["session_workers"]["last_error"]
                assert [one for one, check in checks.items() if not check["healthy"]] == ["session_workers"]
                assert await status_of(system) == "degraded"
                worker = make_session_worker(app)
                await worker.start()
                checks = await until(system, lambda checks: checks["session_workers"]["healthy"])
                assert checks["session_workers"]["at_work"] == 1
                assert await status_of(system) == "running"
        finally:
            await worker.close()
