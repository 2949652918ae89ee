"""Starting, stopping and looking after a system."""

import asyncio
import json
from collections.abc import AsyncIterator
from time import monotonic
from typing import Any, NoReturn

import pytest

from agentbus.client import AgentBus
from agentbus.contracts.address import Scope
from agentbus.contracts.commands import CreateSession
from agentbus.contracts.errors import BusError, ReplyTimeout, StoreUnavailable
from agentbus.contracts.topology import Topology
from agentbus.sessions import (
    HealthStatus,
    NotInitialized,
    SessionSystem,
    SessionSystemConfig,
    create_default_session_system,
    shutdown_sessions,
)
from agentbus.sessions import engine as engine_module
from agentbus.sessions import providers as providers_module
from agentbus.sessions import running as running_module
from agentbus.sessions.config import make_config
from agentbus.sessions.engine import Engine
from agentbus.storage.memory import MemoryStore
from agentbus.workers.bus.memory import MemoryBus
from tests.harness.faults import given_up_after
from tests.harness.patience import PATIENCE


class Outage(MemoryStore):
    """A store that does not answer while it is `down`."""

    down = False

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name in {"log", "heads"} and self.down:
            return _Silent()
        return _fail if name == "info" and self.down else found


class _Silent:
    """A section of a store that does not answer."""

    def __getattr__(self, name: str) -> Any:
        return _fail


async def _fail(*_: object, **__: object) -> None:
    raise StoreUnavailable("the store is down")


@pytest.fixture
def outage(monkeypatch: pytest.MonkeyPatch) -> Outage:
    store = Outage()
    monkeypatch.setattr(providers_module, "_providers", {"outage": lambda _config: store})
    return store


@pytest.fixture
async def unsteady(outage: Outage) -> AsyncIterator[SessionSystem]:
    assert not outage.down
    config = SessionSystemConfig(storage_type="outage", enable_cleanup=False, call_timeout=PATIENCE)
    async with SessionSystem(config) as started:
        yield started


async def test_the_status_of_a_system(any_system: SessionSystem) -> None:
    session = await any_system.create_session("chat", "ann", "web")
    await any_system.add_message(session.session_id, "ann", "user", "hi")
    closed = await any_system.create_session("other", "ann", "web")
    await any_system.close_session(closed.session_id)

    status = await any_system.get_system_status()

    assert (status["system"]["status"], status["system"]["mode"]) == ("running", "embedded")
    assert status["system"]["started_at"]
    assert status["metrics"] == {"total_sessions": 2, "active_sessions": 1, "messages": 1}
    assert status["components"]["session_worker"]["state"] == "running"
    assert [name for name, is_on in status["features"].items() if is_on] == ["tracking"]
    health = await any_system.get_health_check()
    assert health["status"] == "healthy"
    assert health["checks"]["store"]["milliseconds"] >= 0
    assert health
    assert json.loads(json.dumps(health)) == health
    assert (await any_system.health_check())["checks"].keys() == health["checks"].keys()


async def test_starting_and_stopping_again_changes_nothing(storage: dict[str, Any]) -> None:
    system = SessionSystem(make_config(**storage))
    await system.stop()
    await asyncio.gather(system.start(), system.start())
    await system.start()
    session = await system.create_session(user_id="ann")
    parts = set((await system.get_system_status())["components"])
    assert parts == {"session_worker", "cleanup"}

    await system.restart()
    assert await system.health_check()
    assert await system.session_exists(session.session_id) is (system.config.storage_type != "memory")
    assert (await system.create_session(user_id="ann")).is_active()

    await asyncio.gather(system.stop(), system.stop())
    await system.stop()
    assert (await system.get_system_status())["system"] == {
        "status": "stopped",
        "mode": "embedded",
        "storage": str(system.config.storage_type),
        "started_at": None,
    }
    assert (await system.get_system_status())["metrics"]["active_sessions"] is None
    stopped = await system.health_check()
    assert (stopped["status"], bool(stopped)) == ("unhealthy", False)
    assert stopped["checks"]["store"]["last_error"].startswith("not_initialized")
    with pytest.raises(NotInitialized, match="start"):
        await system.create_session(user_id="ann")


async def test_what_was_called_before_stopping_is_carried_out(system: SessionSystem) -> None:
    session = await system.create_session("chat", "ann", "web")
    store = system._store
    adding = [asyncio.create_task(system.add_message(session.session_id, "ann", "user", str(n))) for n in range(20)]
    await asyncio.gather(*adding)
    await system.stop()

    head = await store.heads.get(session.session_id)
    assert head is not None
    assert head.message_count == 20


async def test_all_features_are_those_that_there_are() -> None:
    system = await create_default_session_system()
    try:
        assert await system.health_check()
    finally:
        await shutdown_sessions()


async def test_while_the_store_is_down_the_system_says_so_and_then_goes_on(
    unsteady: SessionSystem, outage: Outage
) -> None:
    session = await unsteady.create_session("chat", "ann", "web")
    outage.down = True

    status, health = await unsteady.get_system_status(), await unsteady.get_health_check()
    assert status["system"]["status"] == "degraded"
    assert status["metrics"] == {"total_sessions": None, "active_sessions": None, "messages": None}
    assert health["status"] is HealthStatus.UNHEALTHY
    assert health["checks"]["store"]["last_error"] == "store_unavailable: the store is down"
    assert health["checks"]["session_worker"]["healthy"]
    assert not await unsteady.health_check()
    with pytest.raises(StoreUnavailable):
        await unsteady.get_session(session.session_id)
    again = pytest.raises(ReplyTimeout, match=r"the store is down\. Ask again with command_id='r'")
    begun = monotonic()
    with again, given_up_after(0.3, unsteady):
        await unsteady.refresh_session(session.session_id, request_id="r")
    assert monotonic() - begun < PATIENCE / 2, "it was given up after the time that it had before"

    outage.down = False
    refreshed = await unsteady.refresh_session(session.session_id, request_id="r")
    assert refreshed.is_active()
    actions = [one.action for one in (await unsteady.get_audit_log(session.session_id)).items]
    assert actions == ["refreshed", "session_started"]
    assert await unsteady.health_check()
    assert (await unsteady.get_system_status())["system"]["status"] == "running"


async def test_a_call_under_way_ends_when_its_system_is_stopped(
    outage: Outage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running_module, "_DRAIN_SECONDS", 0.1)
    system = SessionSystem(SessionSystemConfig(storage_type="outage", enable_cleanup=False, call_timeout=300.0))
    await system.start()
    session = await system.create_session("chat", "ann", "web")
    outage.down = True
    call = asyncio.create_task(system.refresh_session(session.session_id))
    await asyncio.sleep(0)  # It is under way.

    await system.stop()

    with pytest.raises(BusError):
        async with asyncio.timeout(PATIENCE):
            await call


async def test_a_call_without_an_answer_is_over_when_its_time_is(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    class Silent(AgentBus):
        async def send(self, *_: object, timeout: float = 10.0, **__: object) -> NoReturn:
            waited.append(timeout)
            await asyncio.sleep(timeout)
            raise ReplyTimeout

    monkeypatch.setattr(engine_module, "ATTEMPT_SECONDS", 0.05)
    engine = Engine(Silent(MemoryBus(Topology())), MemoryStore(), Scope.PER_CHAT_USER, call_timeout=2.0)
    with pytest.raises(ReplyTimeout):
        await engine.send(CreateSession())
    assert len(waited) > 1
    assert sum(waited) <= 2.0 + 0.1  # The last attempt has some time, however little is left.


async def test_a_system_stops_even_while_its_store_is_down(
    unsteady: SessionSystem, outage: Outage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running_module, "_DRAIN_SECONDS", 0.1)
    session = await unsteady.create_session("chat", "ann", "web")
    outage.down = True
    with pytest.raises(ReplyTimeout), given_up_after(0.3, unsteady):
        await unsteady.refresh_session(session.session_id)

    async with asyncio.timeout(PATIENCE):
        await unsteady.stop()
    assert (await unsteady.get_system_status())["system"]["status"] == "stopped"


async def test_a_failing_start_leaves_nothing_behind(outage: Outage, monkeypatch: pytest.MonkeyPatch) -> None:
    system = SessionSystem(SessionSystemConfig(storage_type="outage"))

    async def fail() -> None:
        raise StoreUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(outage, "start", fail)
        with pytest.raises(StoreUnavailable):
            await system.start()
    assert not await system.health_check()
    await system.start()
    assert await system.health_check()
    await system.stop()
