"""One id, one message: whichever calls bring it, at once or later, through one process or several."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest

from agentbus.contracts.commands import AppendMessage, UpdateSession
from agentbus.contracts.ids import SessionId, conversation_of
from agentbus.contracts.messages import OutboundMessage, TextContent
from agentbus.sessions import AccessDenied, EditConflict, Message, SessionSystem
from agentbus.sessions.config import make_config
from tests.harness.sampling import sampled

SAID: Final = OutboundMessage(message_id="m", content=TextContent(text="once"))


def message() -> Message:
    return Message(id="m", content="once", user_id="ann")


async def by_context(system: SessionSystem, session_id: str) -> None:
    context = await system.get_session(session_id)
    assert context is not None
    context.conversation_history.clear()  # as if it were not among those that are read
    context.add_message(message())
    context.add_message(Message(id="other", content="other", user_id="ann"))
    await system.update_session(context)


async def by_id(system: SessionSystem, session_id: str) -> None:
    await system.add_message(session_id, "ann", "user", "once", message_id="m")


async def by_message(system: SessionSystem, session_id: str) -> None:
    await system.add_message_to_session(session_id, message())


async def by_command(system: SessionSystem, session_id: str) -> None:
    await system._engine.send(AppendMessage(session_id=SessionId(session_id), message=SAID))


async def by_update(system: SessionSystem, session_id: str) -> None:
    """As another client sends it, with the message twice."""
    await system._engine.send(UpdateSession(session_id=SessionId(session_id), messages=(SAID, SAID)))


Way = Callable[[SessionSystem, str], Awaitable[None]]
PATHS: Final[tuple[Way, ...]] = (by_context, by_id, by_message, by_command, by_update)


async def ids(system: SessionSystem, session_id: str) -> list[str]:
    page = await system.get_session_messages(session_id, limit=1000)
    return [one.id for one in page.items if one.id != "other"]


@pytest.mark.parametrize("first", PATHS)
@pytest.mark.parametrize("chat", ["chat", None])
async def test_on_every_path_a_message_is_there_once(any_system: SessionSystem, first: Way, chat: str | None) -> None:
    session = await any_system.create_session(chat, "ann", "web")
    for path in (first, *PATHS):
        await path(any_system, session.session_id)

    assert await ids(any_system, session.session_id) == ["m"]
    kept = await any_system.get_session(session.session_id)
    assert kept is not None
    assert kept.message_count == len((await any_system.get_session_messages(session.session_id)).items)


async def test_all_at_once_a_message_is_there_once(any_system: SessionSystem) -> None:
    session = await any_system.create_session("chat", "ann", "web")

    await asyncio.gather(*(path(any_system, session.session_id) for path in PATHS * 4))

    assert await ids(any_system, session.session_id) == ["m"]


async def test_long_after_it_is_still_there_once(any_system: SessionSystem) -> None:
    """The head remembers the last inputs alone, the log all of them."""
    session = await any_system.create_session("chat", "ann", "web")
    await by_context(any_system, session.session_id)
    for number in range(80):
        await any_system.add_message(session.session_id, "ann", "user", "x", message_id=f"x{number}")

    for path in PATHS:
        await path(any_system, session.session_id)

    assert (await ids(any_system, session.session_id)).count("m") == 1


@sampled("storage")
@pytest.mark.parametrize("storage", ["sqlite", "file", "mongodb"], indirect=True)
async def test_two_processes_on_one_store_keep_it_once(storage: dict[str, Any]) -> None:
    config = {"enable_cleanup": False, "partitions": 8, **storage}
    async with SessionSystem(make_config(**config)) as one, SessionSystem(make_config(**config)) as two:
        session = await one.create_session("chat", "ann", "web")

        await asyncio.gather(
            *(path(one, session.session_id) for path in PATHS * 2),
            *(path(two, session.session_id) for path in PATHS * 2),
        )

        assert await ids(one, session.session_id) == ["m"]


async def test_the_rest_of_a_save_is_saved(system: SessionSystem) -> None:
    session = await system.create_session("chat", "ann", "web")
    await by_id(system, session.session_id)
    session.add_message(message())
    session.add_message(Message(id="new", content="new", user_id="ann"))
    session.set_data("a", 1)
    await system.update_session(session)

    assert await ids(system, session.session_id) == ["m", "new"]
    assert session.data == {"a": 1}

    theirs = await system.get_session(session.session_id)
    assert theirs is not None
    theirs.set_data("a", 2)
    await system.update_session(theirs)
    session.add_message(Message(id="late", content="late", user_id="ann"))
    session.set_data("a", 3)
    with pytest.raises(EditConflict):
        await system.update_session(session)
    assert await ids(system, session.session_id) == ["m", "new"]


async def test_each_session_has_its_own(system: SessionSystem) -> None:
    one = await system.create_session("chat", "ann", "web")
    await by_context(system, one.session_id)
    two = await system.create_session("chat", "ann", "web")
    await by_context(system, two.session_id)

    assert [await ids(system, each.session_id) for each in (one, two)] == [["m"], ["m"]]


async def test_a_stranger_who_knows_the_id_is_told_nothing(system: SessionSystem) -> None:
    session = await system.create_session("chat", "ann", "web")
    await by_context(system, session.session_id)

    command = AppendMessage(session_id=session.session_id, actor="eve", message=SAID)
    with pytest.raises(AccessDenied):
        await system._engine.send(command)


async def test_the_log_tells_what_was_applied_from_the_keys_of_messages(system: SessionSystem) -> None:
    session = await system.create_session("chat", "ann", "web")
    await by_context(system, session.session_id)

    [*_, last] = await system._store.log.read(conversation_of(session.session_id), limit=100)

    assert len(last.inputs) == 3
    assert [event.cause for event in last.events] == [*last.applied] * 2
