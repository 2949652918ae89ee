"""Sessions and messages as they are held in hand."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from agentbus.sessions import (
    ConflictPolicy,
    EditConflict,
    Message,
    MessageType,
    Platform,
    Role,
    SessionContext,
    SessionStatus,
    session_context,
    with_session,
)
from agentbus.storage.history import history_page
from tests.tour.registry import shows
from tests.tour.world import World


@shows("Message")
async def show_message(world: World) -> None:
    session = await world.session()
    at = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    sent = Message(
        content="hi", user_id="ann", id="m1", timestamp=at, platform=Platform.TELEGRAM, chat_id=session.chat_id
    )
    await world.manager.add_message_to_session(session.session_id, sent)
    (kept,) = (await world.read(session.session_id)).conversation_history
    assert kept == sent
    assert kept.timestamp == datetime(2026, 1, 1, 10, tzinfo=UTC)
    assert (Message(content="x").role, Message(content="x", message_type=MessageType.SYSTEM).role) == (
        Role.ASSISTANT,
        Role.SYSTEM,
    )


@shows("Message.outbound")
async def show_outbound(world: World) -> None:
    command = Message(content="/start now", user_id=world.name(), message_type=MessageType.COMMAND).outbound()
    assert command.content.model_dump() == {"kind": "command", "name": "start", "arguments": "now"}
    picture = Message(content="https://there/a.png", message_type=MessageType.IMAGE).outbound()
    assert picture.content.model_dump()["attachments"][0]["uri"] == "https://there/a.png"


@shows("Message.of")
async def show_of(world: World) -> None:
    session = await world.session()
    sent = Message(content="geo:48.2,16.4", user_id="ann", message_type=MessageType.LOCATION)
    await world.manager.add_message_to_session(session.session_id, sent)
    head = await world.manager._store.heads.get(session.session_id)
    assert head is not None
    page = await history_page(world.manager._store, head, limit=1)
    (kept,) = [Message.of(shown) for shown in page.items]
    assert (kept.id, kept.content, kept.message_type) == (sent.id, sent.content, MessageType.LOCATION)


@shows("SessionContext")
async def show_session_context_class(world: World) -> None:
    user = world.name()
    made = await world.session(user, ai_model="model-1", custom_data={"a": 1}, metadata={"b": 2}, tags=["vip"])
    read = await world.read(made.session_id)
    assert read == made
    assert (read.user_id, read.platform, read.status) == (user, Platform.TELEGRAM, SessionStatus.ACTIVE)
    assert (read.ai_model, read.data, read.metadata, read.tags) == ("model-1", {"a": 1}, {"b": 2}, ["vip"])
    assert abs(datetime.now(UTC) - read.created_at) < timedelta(minutes=1)


@shows("SessionContext.of")
async def show_context_of(world: World) -> None:
    made = await world.session(custom_data={"a": {"b": 1}})
    head = await world.manager._store.heads.get(made.session_id)
    assert head is not None
    context = SessionContext.of(head)
    assert context == made
    context.data["a"]["b"] = 2
    assert head.data == {"a": {"b": 1}}


@shows("SessionContext.add_message")
async def show_add_message(world: World) -> None:
    session = await world.session()
    session.add_message(Message(content="hello", user_id="ann"))
    session.add_message(Message(content="good day"))
    assert (await world.read(session.session_id)).conversation_history == []
    assert await world.manager.update_session(session)
    kept = (await world.read(session.session_id)).conversation_history
    assert [(one.role, one.content) for one in kept] == [("user", "hello"), ("assistant", "good day")]


@shows("SessionContext.set_data")
async def show_set_data(world: World) -> None:
    session = await world.session()
    session.set_data("cart", ["tea"])
    await world.manager.update_session(session)
    assert (await world.read(session.session_id)).data == {"cart": ["tea"]}


@shows("SessionContext.get_data")
async def show_get_data(world: World) -> None:
    read = await world.read((await world.session(custom_data={"step": 3})).session_id)
    assert (read.get_data("step"), read.get_data("other"), read.get_data("other", 7)) == (3, None, 7)


@shows("SessionContext.is_expired")
async def show_is_expired(world: World) -> None:
    read = await world.read((await world.session(expires_in=60)).session_id)
    assert not read.is_expired()
    assert read.is_expired(datetime.now(UTC) + timedelta(seconds=61))


@shows("SessionContext.is_active")
async def show_is_active(world: World) -> None:
    made = await world.session()
    assert (await world.read(made.session_id)).is_active()
    await world.manager.close_session(made.session_id)
    assert not (await world.read(made.session_id)).is_active()


@shows("SessionContext.changes")
async def show_changes(world: World) -> None:
    session = await world.session(custom_data={"a": 1, "b": 1})
    assert session.changes() is None
    session.set_data("a", 2)
    command = session.changes()
    assert command is not None
    assert (command.data.values, command.data.expected) == ({"a": 2}, {"a": 1})
    assert (await world.read(session.session_id)).data == {"a": 1, "b": 1}


@shows("SessionContext.take_over")
async def show_take_over(world: World) -> None:
    mine = await world.session()
    theirs = await world.read(mine.session_id)
    theirs.set_data("a", 1)
    await world.manager.update_session(theirs)
    mine.take_over(await world.read(mine.session_id))
    assert (mine.data, mine.version, mine.changes()) == ({"a": 1}, theirs.version, None)


@shows("SessionContext.as_it_is")
async def show_as_it_is(world: World) -> None:
    session = await world.session(custom_data={"a": [1]})
    session.set_data("b", 2)
    then = session.as_it_is()
    session.data["a"].append(2)
    assert (then.data, session.data) == ({"a": [1], "b": 2}, {"a": [1, 2], "b": 2})
    assert then.changes() != session.changes()


@shows("SessionContext.saved_as")
async def show_saved_as(world: World) -> None:
    session = await world.session()
    session.set_data("a", 1)
    then = session.as_it_is()
    session.set_data("b", 2)
    await world.manager.update_session(then)
    session.saved_as(await world.read(session.session_id), then)
    assert (session.data, session.version) == ({"a": 1, "b": 2}, then.version)
    command = session.changes()
    assert command is not None
    assert command.data.values == {"b": 2}


@shows("session_context")
async def show_session_context(world: World) -> None:
    where: dict[str, Any] = {"chat_id": world.name("chat"), "user_id": world.name(), "platform": "telegram"}
    async with session_context(world.manager, **where) as session:
        session.set_data("step", 1)
        session.add_message(Message(content="hello", user_id="ann"))
    with pytest.raises(ZeroDivisionError):
        async with session_context(world.manager, **where) as again:
            again.set_data("step", 1 // 0)
    read = await world.read(session.session_id)
    assert (again.session_id, read.data, len(read.conversation_history)) == (session.session_id, {"step": 1}, 1)


@shows("with_session")
async def show_with_session(world: World) -> None:
    @with_session(world.manager, tags=["vip"])
    async def handle(session: SessionContext, text: str) -> str:
        session.set_data("said", text)
        return session.session_id

    where = {"chat_id": world.name("chat"), "user_id": world.name(), "platform": "web"}
    first, second = await handle("one", **where), await handle("two", **where)
    read = await world.read(first)
    assert first == second
    assert (read.data, read.tags) == ({"said": "two"}, ["vip"])


@shows("ConflictPolicy")
async def show_conflict_policy(world: World) -> None:
    first = await world.session()
    second = await world.read(first.session_id)
    first.set_data("a", "first")
    second.set_data("a", "second")
    await world.manager.update_session(first)
    with pytest.raises(EditConflict):
        await world.manager.update_session(second, on_conflict=ConflictPolicy.RAISE)
    assert (await world.read(first.session_id)).data == {"a": "first"}
    await world.manager.update_session(second, on_conflict=ConflictPolicy.OVERWRITE)
    assert (await world.read(first.session_id)).data == {"a": "second"}


@shows("SessionContext.increment")
async def show_increment(world: World) -> None:
    mine = await world.session()
    theirs = await world.read(mine.session_id)
    assert (mine.increment("count"), theirs.increment("count", 2)) == (1, 2)
    await world.manager.update_session(mine)
    await world.manager.update_session(theirs)
    assert (await world.read(mine.session_id)).data == {"count": 3}


@shows("SessionContext.repeat_on")
async def show_repeat_on(world: World) -> None:
    mine = await world.session()
    theirs = await world.read(mine.session_id)
    theirs.set_data("a", "theirs")
    theirs.set_data("b", 1)
    await world.manager.update_session(theirs)
    mine.set_data("a", "mine")
    mine.repeat_on(await world.read(mine.session_id))
    await world.manager.update_session(mine)
    assert (await world.read(mine.session_id)).data == {"a": "mine", "b": 1}


@shows("SessionContext.only_messages_on")
async def show_only_messages_on(world: World) -> None:
    mine = await world.session()
    mine.set_data("a", 1)
    mine.add_message(Message(content="hello", user_id=mine.user_id))
    await world.manager.update_session(mine.only_messages_on(await world.read(mine.session_id)))
    read = await world.read(mine.session_id)
    assert (read.data, [one.content for one in read.conversation_history]) == ({}, ["hello"])
