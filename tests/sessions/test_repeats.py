"""Requests that are made again: by whoever made them, and by somebody who knows their id."""

from collections.abc import Awaitable, Callable

import pytest

from agentbus.sessions import AccessDenied, SessionSystem

Call = Callable[[SessionSystem, str, str], Awaitable[object]]

CALLS: dict[str, Call] = {
    "update_session_metadata": lambda s, one, who: s.update_session_metadata(
        one, {"a": 1}, user_id=who, request_id="known"
    ),
    "extend_session_lifetime": lambda s, one, who: s.extend_session_lifetime(one, 60, user_id=who, request_id="known"),
    "refresh_session": lambda s, one, who: s.refresh_session(one, user_id=who, request_id="known"),
    "close_session": lambda s, one, who: s.close_session(one, user_id=who, request_id="known"),
    "set_session_state": lambda s, one, who: s.set_session_state(one, "suspended", user_id=who, request_id="known"),
    "share_session": lambda s, one, who: s.share_session(one, who, "zoe", request_id="known"),
    "delete_session": lambda s, one, who: s.delete_session(one, user_id=who, request_id="known"),
    "restore_checkpoint": lambda s, one, who: s.restore_checkpoint(one, "kept", user_id=who, request_id="known"),
}


@pytest.mark.parametrize("name", CALLS)
async def test_a_known_request_tells_a_stranger_nothing(system: SessionSystem, name: str) -> None:
    session = await system.create_session("chat", "ann", "web", custom_data={"pin": 1234})
    await system.save_checkpoint(session.session_id, checkpoint_id="kept")
    call = CALLS[name]
    await call(system, session.session_id, "ann")
    await call(system, session.session_id, "ann")

    with pytest.raises(AccessDenied):
        await call(system, session.session_id, "eve")


async def test_a_known_request_that_created_a_session_creates_another_for_somebody_else(
    any_system: SessionSystem,
) -> None:
    mine = await any_system.create_session(user_id="ann", custom_data={"pin": 1234}, request_id="known")
    await any_system.add_message(mine.session_id, "ann", "user", "secret")

    again = await any_system.create_session(user_id="ann", request_id="known")
    theirs = await any_system.create_session(user_id="eve", request_id="known")
    nobodys = await any_system.create_session(request_id="known")

    assert again.session_id == mine.session_id
    assert [one.content for one in again.conversation_history] == ["secret"]
    assert len({mine.session_id, theirs.session_id, nobodys.session_id}) == 3
    assert (theirs.user_id, theirs.data, theirs.conversation_history) == ("eve", {}, [])


async def test_in_a_chat_of_many_a_known_request_answers_its_owner_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTBUS_SCOPE", "per_chat")
    async with SessionSystem() as system:
        mine = await system.create_session("group", "ann", "web", custom_data={"pin": 1234}, request_id="known")
        again = await system.create_session("group", "ann", "web", request_id="known")

        with pytest.raises(AccessDenied):
            await system.create_session("group", "eve", "web", request_id="known")
    assert again.session_id == mine.session_id
