"""Requests that are made again: by whoever made them, and by somebody who knows their id."""

from collections.abc import Awaitable, Callable

import pytest

from agentbus.contracts.address import Address
from agentbus.sessions import (
    AccessDenied,
    Platform,
    RequestReused,
    SessionNotCurrent,
    SessionSystem,
    SessionSystemConfig,
)

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

    again = await any_system.create_session(user_id="ann", custom_data={"pin": 1234}, request_id="known")
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
        again = await system.create_session("group", "ann", "web", custom_data={"pin": 1234}, request_id="known")

        with pytest.raises(AccessDenied):
            await system.create_session("group", "eve", "web", request_id="known")
    assert again.session_id == mine.session_id


async def _updated(system: SessionSystem, session_id: str, value: int) -> None:
    context = await system.get_session(session_id)
    assert context is not None
    context.set_data("a", value)
    await system.update_session(context, request_id="r")


OTHERS: dict[str, Callable[[SessionSystem, str], Awaitable[object]]] = {
    "update_session_metadata": lambda s, one: s.update_session_metadata(one, {"a": 1}, request_id="r"),
    "other metadata": lambda s, one: s.update_session_metadata(one, {"a": 2}, request_id="r"),
    "update_session": lambda s, one: _updated(s, one, 1),
    "other data": lambda s, one: _updated(s, one, 2),
    "extend_session_lifetime": lambda s, one: s.extend_session_lifetime(one, 60, request_id="r"),
    "refresh_session": lambda s, one: s.refresh_session(one, request_id="r"),
    "set_session_state": lambda s, one: s.set_session_state(one, "suspended", request_id="r"),
    "another state": lambda s, one: s.set_session_state(one, "idle", request_id="r"),
    "share_session": lambda s, one: s.share_session(one, "ann", "zoe", request_id="r"),
    "shared otherwise": lambda s, one: s.share_session(one, "ann", "zoe", "write", request_id="r"),
    "revoke_share": lambda s, one: s.revoke_share(one, "ann", "zoe", request_id="r"),
    "set_visibility": lambda s, one: s.set_visibility(one, "ann", "public", request_id="r"),
    "reset_session_history": lambda s, one: s.reset_session_history(one, request_id="r"),
    "close_session": lambda s, one: s.close_session(one, request_id="r"),
    "create_session": lambda s, _: s.create_session("chat", "ann", "web", request_id="r"),
    "created otherwise": lambda s, _: s.create_session("chat", "ann", "web", custom_data={"x": 1}, request_id="r"),
}


@pytest.mark.parametrize("first", OTHERS)
async def test_an_id_is_for_one_request(first: str) -> None:
    """Its own repetition is answered, whatever else comes with the id is refused, and changes nothing."""
    async with SessionSystem(SessionSystemConfig(enable_cleanup=False, partitions=4)) as system:
        session_id = (await system.create_session("chat", "ann", "web")).session_id
        await system.add_message(session_id, "ann", "user", "hello")
        await OTHERS[first](system, session_id)
        last = await system._engine.current(Address(platform=Platform.WEB, chat="chat", user="ann"))
        for name, call in OTHERS.items():
            if name == first:
                await call(system, session_id)
            elif (first, name) != ("create_session", "created otherwise"):  # what began empty may have been erased
                with pytest.raises((RequestReused, SessionNotCurrent)):
                    await call(system, session_id)
        assert await system._engine.current(Address(platform=Platform.WEB, chat="chat", user="ann")) == last
