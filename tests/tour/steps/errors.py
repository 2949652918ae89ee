"""The errors: each is raised where it is promised, and is an AgentBusError."""

from collections.abc import Awaitable, Callable, Sequence

import pytest

from agentbus.contracts.events import Commit
from agentbus.contracts.ids import SessionId
from agentbus.contracts.session import SessionState
from agentbus.sessions import (
    AccessDenied,
    AgentBusError,
    BusError,
    CheckpointNotFound,
    ConfigurationError,
    EditConflict,
    FeatureNotEnabled,
    LimitExceeded,
    NotInitialized,
    Refused,
    ReplyTimeout,
    RequestReused,
    SchemaViolation,
    SessionNotCurrent,
    SessionNotFound,
    SessionSystem,
    StoreError,
    StoreUnavailable,
    TemplateNotFound,
    TransitionForbidden,
    register_provider,
)
from agentbus.sessions.config import make_config
from agentbus.storage.memory import MemoryStore
from agentbus.storage.memory.heads import MemoryHeads
from agentbus.storage.memory.log import MemoryLog
from tests.harness.faults import given_up_after
from tests.tour.registry import shows
from tests.tour.world import World


class Outage(MemoryStore):
    """A store that does not answer while it is `down`."""

    def __init__(self) -> None:
        super().__init__()
        self.down = False
        self.heads = _HeadsOf(self)
        self.log = _LogOf(self)

    def answer(self) -> None:
        if self.down:
            raise StoreUnavailable("the store is down")


class _LogOf(MemoryLog):
    def __init__(self, store: Outage) -> None:
        super().__init__(store.heads)
        self._store = store

    async def append(self, commits: Sequence[Commit]) -> list[StoreError | None]:
        self._store.answer()
        return await super().append(commits)


class _HeadsOf(MemoryHeads):
    def __init__(self, store: Outage) -> None:
        super().__init__()
        self._store = store

    async def get(self, session: SessionId) -> SessionState | None:
        self._store.answer()
        return await super().get(session)


async def while_down(call: Callable[[SessionSystem, str], Awaitable[object]], expected: type[AgentBusError]) -> None:
    """Make a call while the store of its system does not answer."""
    store = Outage()
    register_provider("outage", lambda _: store)
    async with SessionSystem(make_config(storage_type="outage", enable_cleanup=False)) as system:
        made = await system.create_session(user_id="ann")
        store.down = True
        with pytest.raises(expected), given_up_after(0.2, system):
            await call(system, made.session_id)
        store.down = False


@shows("AgentBusError")
async def show_agentbus_error(world: World) -> None:
    with pytest.raises(AgentBusError) as caught:
        await world.manager.close_session("no-such-session")
    assert type(caught.value) is SessionNotFound
    assert caught.value.code == "session_not_found"


@shows("AccessDenied")
async def show_access_denied(world: World) -> None:
    made = await world.session()
    words = []
    for session_id in (made.session_id, f"{made.session_id[:-1]}9", "no-such-session"):
        with pytest.raises(AccessDenied) as caught:
            await world.manager.get_session(session_id, user_id="somebody else")
        words.append(str(caught.value))
    assert len(set(words)) == 1


@shows("CheckpointNotFound")
async def show_checkpoint_not_found(world: World) -> None:
    made = await world.session(custom_data={"a": 1})
    with pytest.raises(CheckpointNotFound, match="no-such-checkpoint"):
        await world.manager.restore_checkpoint(made.session_id, "no-such-checkpoint")
    assert (await world.read(made.session_id)).data == {"a": 1}


@shows("EditConflict")
async def show_edit_conflict(world: World) -> None:
    made = await world.session()
    stale = await world.read(made.session_id)
    for context, mood in ((made, "glad"), (stale, "sad")):
        context.metadata["mood"] = mood
    await world.manager.update_session(made)
    with pytest.raises(EditConflict, match="mood"):
        await world.manager.update_session(stale)
    assert (await world.read(made.session_id)).metadata == {"mood": "glad"}


@shows("FeatureNotEnabled")
async def show_feature_not_enabled(world: World) -> None:
    with pytest.raises(FeatureNotEnabled, match="enable_tracking"):
        await world.manager.get_usage_patterns()


@shows("LimitExceeded")
async def show_limit_exceeded(world: World) -> None:
    user = world.name()
    async with world.another(max_sessions_per_user=2) as system:
        for _ in range(2):
            await system.create_session(user_id=user)
        with pytest.raises(LimitExceeded, match="limit is 2"):
            await system.create_session(user_id=user)
        assert len(await system.get_sessions_by_user(user)) == 2


@shows("NotInitialized")
async def show_not_initialized(world: World) -> None:
    system = SessionSystem(make_config(**world.place.settings))
    with pytest.raises(NotInitialized, match="start"):
        await system.get_session("session")


@shows("SessionNotCurrent")
async def show_session_not_current(world: World) -> None:
    made = await world.session()
    await world.manager.create_session(made.chat_id, made.user_id, "telegram")
    made.set_data("a", 1)
    with pytest.raises(SessionNotCurrent):
        await world.manager.update_session(made)
    assert (await world.read(made.session_id)).data == {}


@shows("SessionNotFound")
async def show_session_not_found(world: World) -> None:
    made = await world.session()
    await world.manager.delete_session(made.session_id)
    for session_id in (made.session_id, "no-such-session"):
        with pytest.raises(SessionNotFound):
            await world.manager.get_session_messages(session_id)


@shows("TemplateNotFound")
async def show_template_not_found(world: World) -> None:
    made = await world.session()
    with pytest.raises(TemplateNotFound, match="no-such-template"):
        await world.manager.apply_template(made.session_id, "no-such-template")
    assert (await world.read(made.session_id)).template is None


@shows("Refused")
async def show_refused(world: World) -> None:
    made = await world.session()
    with pytest.raises(Refused):
        await world.manager.share_session(made.session_id, "somebody else", "eve")


@shows("RequestReused")
async def show_request_reused(world: World) -> None:
    made = await world.session()
    await world.manager.update_session_metadata(made.session_id, {"mood": "glad"}, request_id="r")
    await world.manager.update_session_metadata(made.session_id, {"mood": "glad"}, request_id="r")
    with pytest.raises(RequestReused):
        await world.manager.update_session_metadata(made.session_id, {"mood": "sad"}, request_id="r")
    assert (await world.read(made.session_id)).metadata == {"mood": "glad"}


@shows("SchemaViolation")
async def show_schema_violation(world: World) -> None:
    made = await world.session()
    with pytest.raises(SchemaViolation, match="not finite"):
        await world.manager.update_session_metadata(made.session_id, {"a": float("nan")})
    assert (await world.read(made.session_id)).metadata == {}


@shows("TransitionForbidden")
async def show_transition_forbidden(world: World) -> None:
    made = await world.session()
    await world.manager.close_session(made.session_id)
    with pytest.raises(TransitionForbidden, match="from closed to active"):
        await world.manager.set_session_state(made.session_id, "active")


@shows("ConfigurationError")
async def show_configuration_error(world: World) -> None:
    with pytest.raises(ConfigurationError, match="colour"):
        make_config(**world.place.settings, colour="red")


@shows("BusError")
@shows("ReplyTimeout")
async def show_reply_timeout(_: World) -> None:
    assert issubclass(ReplyTimeout, BusError)
    await while_down(lambda system, made: system.refresh_session(made), ReplyTimeout)


@shows("StoreError")
@shows("StoreUnavailable")
async def show_store_unavailable(_: World) -> None:
    assert issubclass(StoreUnavailable, StoreError)
    await while_down(lambda system, made: system.get_session(made), StoreUnavailable)
