"""Finding, saving and ending sessions."""

from datetime import UTC, datetime, timedelta

import pytest

from agentbus.contracts.errors import Refused, SchemaViolation, TransitionForbidden
from agentbus.sessions import AccessDenied, ChildPolicy, EditConflict, SessionNotFound, SessionStatus
from tests.harness.clock import later
from tests.tour.registry import shows
from tests.tour.world import World


@shows("SessionManager.get_session")
async def show_get_session(world: World) -> None:
    user = world.name()
    made = await world.session(user)
    assert await world.manager.get_session(made.session_id, user_id=user) == made
    assert await world.manager.get_session("no-such-session") is None
    with pytest.raises(AccessDenied):
        await world.manager.get_session(made.session_id, user_id="somebody else")


@shows("SessionManager.get_user_session")
async def show_get_user_session(world: World) -> None:
    made = await world.session()
    assert made.user_id
    assert made.chat_id
    assert await world.manager.get_user_session(made.user_id, made.chat_id, "telegram") == made
    assert await world.manager.get_user_session(made.user_id, made.chat_id, "slack") is None
    await world.manager.close_session(made.session_id)
    assert await world.manager.get_user_session(made.user_id, made.chat_id, "telegram") is None


@shows("SessionManager.session_exists")
async def show_session_exists(world: World) -> None:
    made = await world.session()
    assert await world.manager.session_exists(made.session_id)
    assert await world.manager.session_exists(made.session_id, user_id=made.user_id)
    assert not await world.manager.session_exists(made.session_id, user_id="somebody else")
    assert not await world.manager.session_exists("no-such-session")


@shows("SessionManager.update_session")
async def show_update_session(world: World) -> None:
    mine = await world.session(custom_data={"a": 1, "b": 1, "c": 1})
    theirs = await world.read(mine.session_id)
    mine.set_data("a", 2)
    del mine.data["c"]
    theirs.set_data("b", 2)
    theirs.tags.append("vip")
    assert await world.manager.update_session(mine)
    assert await world.manager.update_session(theirs)
    assert not await world.manager.update_session(theirs)
    assert (theirs.data, theirs.tags) == ({"a": 2, "b": 2}, ["vip"])
    mine.set_data("b", 3)
    with pytest.raises(EditConflict):
        await world.manager.update_session(mine)
    assert await world.read(mine.session_id) == theirs


@shows("SessionManager.update_session_metadata")
async def show_update_session_metadata(world: World) -> None:
    made = await world.session(metadata={"a": 1, "b": 1})
    saved = await world.manager.update_session_metadata(made.session_id, {"b": 2}, user_id=made.user_id)
    assert saved.metadata == {"a": 1, "b": 2}
    assert (await world.read(made.session_id)).metadata == {"a": 1, "b": 2}


@shows("SessionManager.delete_session")
async def show_delete_session(world: World) -> None:
    made = await world.session()
    with pytest.raises(AccessDenied):
        await world.manager.delete_session(made.session_id, user_id="somebody else")
    assert await world.manager.delete_session(made.session_id)
    assert not await world.manager.delete_session(made.session_id)
    assert await world.manager.get_session(made.session_id) is None


@shows("ChildPolicy")
async def show_child_policy(world: World) -> None:
    delete = world.manager.delete_session
    user = world.name()
    parent = await world.session(user)
    child = await world.session(user, parent_id=parent.session_id)
    grandchild = await world.session(user, parent_id=child.session_id)
    with pytest.raises(Refused, match="children"):
        await delete(parent.session_id, children=ChildPolicy.REFUSE)
    assert await delete(parent.session_id, children=ChildPolicy.DETACH)
    assert (await world.read(child.session_id)).parent_id is None
    assert await delete(child.session_id, children=ChildPolicy.CASCADE)
    assert not await world.manager.session_exists(grandchild.session_id)


@shows("SessionManager.close_session")
async def show_close_session(world: World) -> None:
    made = await world.session()
    await world.manager.close_session(made.session_id, reason="done")
    assert (await world.read(made.session_id)).status is SessionStatus.CLOSED
    with pytest.raises(SessionNotFound):
        await world.manager.close_session(made.session_id)


@shows("SessionManager.extend_session_lifetime")
async def show_extend_session_lifetime(world: World) -> None:
    made = await world.session(expires_in=60)
    assert made.expires_at is not None
    await world.manager.extend_session_lifetime(made.session_id, 30)
    assert (await world.read(made.session_id)).expires_at == made.expires_at + timedelta(seconds=30)
    with pytest.raises(SchemaViolation):
        await world.manager.extend_session_lifetime(made.session_id, 0)


@shows("SessionManager.refresh_session")
async def show_refresh_session(world: World) -> None:
    made = await world.session(expires_in=60)
    await later()
    refreshed = await world.manager.refresh_session(made.session_id)
    assert made.expires_at
    assert refreshed.expires_at
    assert made.expires_at < refreshed.expires_at <= datetime.now(UTC) + timedelta(seconds=61)
    assert refreshed.last_activity > made.last_activity


@shows("SessionManager.set_session_state")
async def show_set_session_state(world: World) -> None:
    made = await world.session()
    await world.manager.set_session_state(made.session_id, SessionStatus.SUSPENDED, reason="by hand")
    assert (await world.read(made.session_id)).status is SessionStatus.SUSPENDED
    await world.manager.set_session_state(made.session_id, "active")
    assert (await world.read(made.session_id)).status is SessionStatus.ACTIVE
    await world.manager.close_session(made.session_id)
    with pytest.raises(TransitionForbidden):
        await world.manager.set_session_state(made.session_id, SessionStatus.SUSPENDED)


@shows("SessionManager.get_session_state")
async def show_get_session_state(world: World) -> None:
    made = await world.session()
    assert await world.manager.get_session_state(made.session_id) is SessionStatus.ACTIVE
    assert await world.manager.get_session_state("no-such-session") is None


@shows("SessionManager.reset_session_history")
async def show_reset_session_history(world: World) -> None:
    made = await world.session(custom_data={"a": 1})
    for text in ("one", "two", "three"):
        await world.manager.add_message(made.session_id, made.user_id, "user", text)
    await world.manager.reset_session_history(made.session_id, 2)
    read = await world.read(made.session_id)
    assert [message.content for message in read.conversation_history] == ["two", "three"]
    await world.manager.reset_session_history(made.session_id)
    read = await world.read(made.session_id)
    assert (read.conversation_history, read.data) == ([], {"a": 1})


@shows("SessionManager.cleanup_all_expired")
async def show_cleanup_all_expired(world: World) -> None:
    over, silent, other = (
        await world.session(expires_in=0.02),
        await world.session(idle_timeout=0.02),
        await world.session(),
    )
    await later(0.02)
    assert await world.manager.cleanup_all_expired() == 1
    states = [await world.manager.get_session_state(one.session_id) for one in (over, silent, other)]
    assert states == [SessionStatus.EXPIRED, SessionStatus.IDLE, SessionStatus.ACTIVE]
    assert await world.manager.cleanup_all_expired() == 0


@shows("SessionManager.batch_cleanup")
async def show_batch_cleanup(world: World) -> None:
    ended, live = await world.session(), await world.session()
    await world.manager.close_session(ended.session_id)
    assert await world.manager.batch_cleanup(older_than_days=1) == 0
    await later()
    assert await world.manager.batch_cleanup(older_than_days=0) >= 1
    assert not await world.manager.session_exists(ended.session_id)
    assert await world.manager.session_exists(live.session_id)
