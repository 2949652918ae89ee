"""Sections of the session API by themselves: over an engine whose commands are written down instead of sent."""

import asyncio

import pytest

from agentbus.client import AgentBus
from agentbus.contracts.address import Scope
from agentbus.contracts.clock import ManualClock
from agentbus.contracts.commands import AnyCommand, CloseSession, CommandReply, UpdateSession
from agentbus.contracts.errors import (
    AccessDenied,
    LockLost,
    LockTimeout,
    NotInitialized,
    SchemaViolation,
    SessionNotFound,
    StoreUnavailable,
)
from agentbus.contracts.ids import ConversationId, InputId, SessionId
from agentbus.contracts.topology import Topology
from agentbus.sessions.engine import Engine
from agentbus.sessions.model.types import ChildPolicy
from agentbus.sessions.sections.batch import Batch
from agentbus.sessions.sections.deletion import Deletion
from agentbus.sessions.sections.locks import Leases
from agentbus.sessions.sections.shared import APPLICATION, Caller, Commands
from agentbus.sessions.sections.templates import Template, TemplateNotFound, Templates
from agentbus.sessions.sections.tokens import Fences, lock_name
from agentbus.storage.memory import MemoryStore
from agentbus.workers.bus.memory import MemoryBus
from tests.harness.patience import PATIENCE

SESSION = SessionId(f"{'a' * 26}.1")


class Recorder(Engine):
    """An engine whose commands are written down: each is carried out."""

    def __init__(self) -> None:
        super().__init__(AgentBus(MemoryBus(Topology())), MemoryStore(), Scope.PER_CHAT_USER, call_timeout=1.0)
        self.sent: list[tuple[AnyCommand, str | None]] = []

    async def send(
        self, command: AnyCommand, *, to: ConversationId | None = None, request_id: str | None = None
    ) -> CommandReply:
        assert to is None
        self.sent.append((command, request_id))
        return CommandReply(command_id=InputId("command"), session_id=SESSION)


@pytest.fixture
def engine() -> Recorder:
    return Recorder()


@pytest.fixture
def fences(engine: Recorder) -> Fences:
    return Fences(engine, ManualClock())


@pytest.fixture
def commands(engine: Recorder, fences: Fences) -> Commands:
    return Commands(engine, fences)


async def test_a_command_is_for_its_caller(engine: Recorder, commands: Commands, fences: Fences) -> None:
    token = (await fences.tokens()).given(lock_name(SESSION), 7)
    await commands.carry_out(SESSION, CloseSession, Caller("ann", token, "again"), reason="done")
    await commands.carry_out(SESSION, CloseSession)
    assert engine.sent == [
        (CloseSession(session_id=SESSION, actor="ann", fence=token, reason="done"), "again"),
        (CloseSession(session_id=SESSION), None),
    ]


@pytest.mark.parametrize(
    ("session_id", "caller", "refusal"),
    [
        ("nonsense", Caller(), SessionNotFound),
        ("nonsense", Caller("ann"), AccessDenied),
        (SESSION, Caller("ann", 5), LockLost),
        (SESSION, Caller("ann", -5), SchemaViolation),
        (SESSION, Caller(""), SchemaViolation),
    ],
)
async def test_a_command_that_can_not_be_is_not_sent(
    engine: Recorder, session_id: str, caller: Caller, refusal: type[Exception]
) -> None:
    commands = Commands(engine, Fences(engine, ManualClock()))
    with pytest.raises(refusal):
        await commands.carry_out(session_id, CloseSession, caller)
    assert engine.sent == []


async def test_templates_are_kept_found_and_taken_away(engine: Recorder, commands: Commands) -> None:
    clock = ManualClock()
    templates = Templates(engine, commands, clock)
    kept = await templates.save("helper", "Be kind.", {"step": 1}, ["search"])
    assert kept == Template(
        name="helper", system_prompt="Be kind.", context={"step": 1}, capabilities=("search",), created_at=clock.now()
    )
    assert await templates.get("helper") == kept
    assert await templates.all() == [kept]
    assert await templates.named(None) == Template(name="")
    with pytest.raises(SessionNotFound):
        await templates.apply(SESSION, "helper", Caller())
    assert await templates.delete("helper")
    assert await templates.get("helper") is None
    with pytest.raises(TemplateNotFound, match="helper"):
        await templates.named("helper")
    assert not [command for command, _ in engine.sent if isinstance(command, UpdateSession)]


async def test_a_lease_has_one_holder_whichever_process_asks(engine: Recorder) -> None:
    ours, theirs = Leases(engine), Leases(engine)
    async with ours.locked("name", timeout=1.0, lease=30.0):
        with pytest.raises(LockTimeout, match="name"):
            await theirs.acquire("name", timeout=0.01, lease=30.0)
    number = await theirs.acquire("name", timeout=1.0, lease=30.0)
    assert await ours.acquire("other", timeout=1.0, lease=30.0) >= 1
    async with asyncio.timeout(PATIENCE), theirs.held("name", number, 30.0):
        assert await engine.store.locks.renew("name", number, ttl=30.0)
    with pytest.raises(LockLost, match="name"):
        async with theirs.held("name", number, 30.0):
            pass


async def test_an_item_of_a_batch_fails_by_itself(engine: Recorder, commands: Commands, fences: Fences) -> None:
    class Failing(Deletion):
        async def delete(
            self, session_id: str, children: ChildPolicy | str = ChildPolicy.REFUSE, caller: Caller = APPLICATION
        ) -> bool:
            assert (children, caller) == ("detach", Caller("ann"))
            if session_id == "second":
                raise StoreUnavailable
            return session_id == "first"

    batch = Batch(engine, Failing(engine, commands, fences), ManualClock())
    results = await batch.delete(["first", "second", "third"], "detach", "ann")
    assert [(one.value, type(one.error)) for one in results] == [
        (True, type(None)),
        (None, StoreUnavailable),
        (False, type(None)),
    ]


async def test_an_engine_that_was_stopped_has_no_store() -> None:
    stopped = False
    engine = Engine(AgentBus(MemoryBus(Topology())), MemoryStore(), Scope.PER_CHAT_USER, 1.0, stopped=lambda: stopped)
    assert await engine.state(SESSION) is None
    stopped = True
    with pytest.raises(NotInitialized, match="start"):
        await engine.state(SESSION)
