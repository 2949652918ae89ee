"""Parts of a system that fail: started again and reported, while the others go on."""

import asyncio
from collections.abc import Callable

import pytest

from agentbus.composition import supervision
from agentbus.composition.supervision import Component, ComponentState
from agentbus.sessions import SessionSystem, SessionSystemConfig
from agentbus.workers.session.lanes import Lanes
from tests.harness.patience import PATIENCE


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "_PAUSES", (0.01, 0.02))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.005)


async def forever(up: Callable[[], None]) -> None:
    up()
    await asyncio.Event().wait()


async def test_a_part_runs_until_it_is_stopped() -> None:
    part = Component("part", forever)
    assert part.describe() == {"state": "stopped", "restarts": 0, "last_error": None}

    await part.start()
    assert part.describe()["state"] == "running"
    for _ in range(2):
        await part.stop()
        assert part.describe()["state"] == "stopped"


async def test_a_part_that_fails_is_started_again() -> None:
    runs = 0

    async def run(up: Callable[[], None]) -> None:
        nonlocal runs
        runs += 1
        up()
        if runs < 4:
            raise ValueError(f"run {runs}")
        await asyncio.Event().wait()

    part = Component("part", run)
    await part.start()
    await until(lambda: runs == 4)

    assert part.describe() == {"state": "running", "restarts": 3, "last_error": "ValueError: run 3"}
    await part.stop()


async def test_a_part_that_never_worked_fails_its_start() -> None:
    async def run(_up: Callable[[], None]) -> None:
        raise ValueError("no")

    part = Component("part", run)
    with pytest.raises(ValueError, match="no"):
        await part.start()
    await part.stop()


async def test_a_part_whose_end_fails_is_stopped_all_the_same() -> None:
    async def run(up: Callable[[], None]) -> None:
        try:
            await forever(up)
        finally:
            raise ValueError("while closing")

    part = Component("part", run)
    await part.start()
    await part.stop()
    assert part.state is ComponentState.STOPPED


async def test_cleanup_that_fails_is_reported_and_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail() -> int:
        raise RuntimeError("cleanup is broken")

    async with SessionSystem(SessionSystemConfig(cleanup_interval=0.01)) as system:
        deadlines = system._sections.deadlines
        mended = deadlines.expire
        monkeypatch.setattr(deadlines, "expire", fail)
        [cleanup] = [part for part in system._components if part.name == "cleanup"]
        await until(lambda: cleanup.restarts > 1)

        session = await system.create_session(user_id="ann", expires_in=0.01)
        status = await system.get_system_status()
        assert status["components"]["session_worker"]["restarts"] == 0
        assert status["components"]["cleanup"]["last_error"] == "RuntimeError: cleanup is broken"
        health = await system.get_health_check()
        async with asyncio.timeout(PATIENCE):
            while health["status"] != "degraded":  # between a restart and the next failure it runs
                await asyncio.sleep(0.005)
                health = await system.get_health_check()
        assert not health
        assert health["checks"]["cleanup"]["last_error"] == "RuntimeError: cleanup is broken"

        monkeypatch.setattr(deadlines, "expire", mended)
        async with asyncio.timeout(PATIENCE):
            while await system.get_session_state(session.session_id) != "expired":
                await asyncio.sleep(0.01)
        assert (await system.get_system_status())["components"]["cleanup"]["state"] == "running"


async def test_cleanup_expires_sessions_by_itself() -> None:
    async with SessionSystem(SessionSystemConfig(cleanup_interval=0.01)) as system:
        session = await system.create_session(user_id="ann", expires_in=0.02)
        async with asyncio.timeout(PATIENCE):
            while await system.get_session_state(session.session_id) != "expired":
                await asyncio.sleep(0.01)


async def test_after_a_fault_the_session_worker_is_started_again_and_loses_nothing(
    system: SessionSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await system.create_session("chat", "ann", "web")
    take = Lanes.take
    faults = 0

    def fail(lanes: Lanes, limit: int) -> object:
        nonlocal faults
        faults += 1
        if faults <= 2:
            raise RuntimeError("a fault of ours")
        return take(lanes, limit)

    monkeypatch.setattr(Lanes, "take", fail)
    await asyncio.gather(*(system.add_message(session.session_id, "ann", "user", str(n)) for n in range(20)))

    page = await system.get_session_messages(session.session_id)
    assert sorted(int(one.content) for one in page.items) == list(range(20))
    [worker] = [part for part in system._components if part.name == "session_worker"]
    assert worker.restarts >= 1
    assert worker.last_error == "RuntimeError: a fault of ours"
    assert await system.health_check()
