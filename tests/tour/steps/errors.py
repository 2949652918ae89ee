"""The errors: each is raised where it is promised, and is an AgentBusError."""

import pytest

from agentbus.sessions import (
    AccessDenied,
    AgentBusError,
    CheckpointNotFound,
    EditConflict,
    FeatureNotEnabled,
    LimitExceeded,
    NotInitialized,
    SessionNotCurrent,
    SessionNotFound,
    SessionSystem,
    TemplateNotFound,
)
from agentbus.sessions.config import make_config
from tests.tour.registry import shows
from tests.tour.world import World


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
    system = SessionSystem(make_config(**world.place.settings, enable_tracking=True))
    with pytest.raises(FeatureNotEnabled, match="enable_tracking"):
        await system.start()


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
