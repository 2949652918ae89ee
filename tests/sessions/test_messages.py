"""Messages of sessions."""

import asyncio
from datetime import UTC, datetime

import pytest

from agentbus.contracts.errors import ConfigurationError, SchemaViolation
from agentbus.sessions import AccessDenied, Message, MessageType, Platform, Role, SessionNotFound, SessionSystem

CONTENTS = {
    MessageType.COMMAND: "/start now and  here",
    MessageType.LOCATION: "geo:52.5,13.4",
    MessageType.TEXT: "hello\nworld 🌍",
    MessageType.SYSTEM: "Ann joined",
}


@pytest.mark.parametrize("kind", list(MessageType))
async def test_every_type_of_message_comes_back_as_it_was(system: SessionSystem, kind: MessageType) -> None:
    session = await system.create_session("chat", "ann", "telegram")
    message = Message(
        id="m1",
        content=CONTENTS.get(kind, f"https://example.org/{kind}"),
        user_id="ann",
        timestamp=datetime(2026, 1, 1, 12, 30, tzinfo=UTC),
        message_type=kind,
        platform=Platform.TELEGRAM,
        chat_id="chat",
    )

    await system.add_message_to_session(session.session_id, message)

    [kept] = (await system.get_session_messages(session.session_id)).items
    assert kept == message


@pytest.mark.parametrize("role", list(Role))
async def test_roles(system: SessionSystem, role: Role) -> None:
    session = await system.create_session("chat", "ann", "telegram")

    await system.add_message(session.session_id, "ann", role.value, "said")

    [kept] = (await system.get_session_messages(session.session_id, "ann")).items
    assert (kept.role, kept.content) == (role, "said")
    assert kept.user_id == ("ann" if role is Role.USER else None)


async def test_the_role_is_told_by_the_author() -> None:
    assert Message(content="", user_id="ann").role is Role.USER
    assert Message(content="").role is Role.ASSISTANT
    assert Message(content="", message_type=MessageType.SYSTEM, user_id="ann").role is Role.SYSTEM


async def test_a_message_added_again_is_there_once(any_system: SessionSystem) -> None:
    session = await any_system.create_session("chat", "ann", "telegram")
    message = Message(content="hello", user_id="ann")

    for _ in range(2):
        await asyncio.gather(*(any_system.add_message_to_session(session.session_id, message) for _ in range(10)))

    page = await any_system.get_session_messages(session.session_id)
    assert [one.id for one in page.items] == [message.id]


async def test_a_message_added_to_a_context_twice_is_there_once(system: SessionSystem) -> None:
    session = await system.create_session("chat", "ann", "telegram")
    message = Message(content="hello", user_id="ann")
    session.add_message(message)
    session.add_message(message)
    await system.update_session(session)
    session.add_message(message)

    assert not await system.update_session(session)
    assert [one.id for one in session.conversation_history] == [message.id]


async def test_messages_of_many_users_keep_their_authors_and_places(system: SessionSystem) -> None:
    session = await system.create_session("room", "ann", "slack", "group", account="bot", thread_id="t")
    for user in ("ann", "bob", "zoe"):
        await system.add_message_to_session(session.session_id, Message(content=f"I am {user}", user_id=user))
    session = await system.get_session(session.session_id) or session
    session.add_message(Message(content="me too", user_id="kim", platform=Platform.SLACK, chat_id="room"))
    await system.update_session(session)

    page = await system.get_session_messages(session.session_id)

    assert [one.user_id for one in page.items] == ["ann", "bob", "zoe", "kim"]
    assert {(one.platform, one.chat_id) for one in page.items} == {("slack", "room")}
    state = await system._store.heads.get(session.session_id)
    assert state is not None
    assert state.address is not None
    # Replies go where the conversation is: a message that does not name account and thread moves neither.
    assert (state.address.account, state.address.thread) == ("bot", "t")


async def test_pages_go_back_to_the_first_message(any_system: SessionSystem) -> None:
    session = await any_system.create_session("chat", "ann", "telegram")
    for number in range(25):
        session.add_message(Message(content=str(number), user_id="ann"))
    await any_system.update_session(session)

    pages: list[list[str]] = []
    cursor: str | None = None
    while True:
        page = await any_system.get_session_messages(session.session_id, "ann", limit=10, before=cursor)
        pages.append([one.content for one in page.items])
        if pages == [[str(number) for number in range(15, 25)]]:
            await any_system.add_message(session.session_id, "ann", "user", "while others read")
        cursor = page.cursor
        if cursor is None:
            break

    assert pages == [
        [str(number) for number in range(15, 25)],
        [str(number) for number in range(5, 15)],
        [str(number) for number in range(5)],
    ]


async def test_a_session_is_read_with_as_many_messages_as_it_says(system: SessionSystem) -> None:
    session = await system.create_session("chat", "ann", "telegram", max_history=3)
    for number in range(5):
        await system.add_message(session.session_id, "ann", "user", str(number))

    found = await system.get_session(session.session_id)

    assert found is not None
    assert [one.content for one in found.conversation_history] == ["2", "3", "4"]
    assert found.message_count == 5


async def test_limits_and_cursors_that_can_not_be(system: SessionSystem) -> None:
    one, two = [await system.create_session(name, "ann", "web") for name in "ab"]
    for number in range(3):
        await system.add_message(one.session_id, "ann", "user", str(number))
    cursor = (await system.get_session_messages(one.session_id, limit=1)).cursor

    for limit in (0, 1001):
        with pytest.raises(ValueError, match="limit"):
            await system.get_session_messages(one.session_id, limit=limit)
    for wrong in ("nonsense", "", "🌍"):
        with pytest.raises(ValueError, match="cursor"):
            await system.get_session_messages(one.session_id, before=wrong or "=")
    with pytest.raises(ValueError, match="cursor"):
        await system.get_session_messages(two.session_id, before=cursor)


async def test_messages_that_can_not_be(system: SessionSystem) -> None:
    session = await system.create_session("chat", "ann", "telegram")
    for wrong in (
        Message(content="x" * 300_000, user_id="ann"),
        Message(content="", message_type=MessageType.IMAGE),
        Message(content="hi", user_id="ann", id="a\x00b"),
        Message(content="hi", user_id="a" * 300),
    ):
        with pytest.raises(SchemaViolation, match="can't be kept"):
            await system.add_message_to_session(session.session_id, wrong)
    with pytest.raises(SchemaViolation):
        await system.add_message(session.session_id, "ann", "narrator", "hi")
    with pytest.raises(ConfigurationError, match="platform"):
        Message(content="hi", platform="carrier pigeon")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="poem"):
        Message(content="hi", message_type="poem")  # type: ignore[arg-type]
    assert (await system.get_session_messages(session.session_id)).items == []


async def test_a_message_goes_to_a_live_session_of_the_user(system: SessionSystem) -> None:
    session = await system.create_session("chat", "ann", "telegram")
    with pytest.raises(AccessDenied):
        await system.add_message(session.session_id, "eve", "user", "hi")
    with pytest.raises(AccessDenied):
        await system.get_session_messages(session.session_id, "eve")
    await system.close_session(session.session_id)

    with pytest.raises(SessionNotFound, match="closed"):
        await system.add_message(session.session_id, "ann", "user", "hi")
    with pytest.raises(SessionNotFound):
        await system.get_session_messages("aaaaaaaaaaaaaaaaaaaaaaaaaa.1")
