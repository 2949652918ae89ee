"""Messages, access, and who did what."""

from datetime import UTC, datetime, timedelta

import pytest

from agentbus.contracts.errors import SchemaViolation
from agentbus.sessions import AccessDenied, Message, Permission, Role, Visibility
from tests.tour.registry import shows
from tests.tour.world import World


@shows("SessionManager.add_message_to_session")
async def show_add_message_to_session(world: World) -> None:
    made = await world.session()
    message = Message(content="hello", user_id="ann")
    for _ in range(2):
        assert await world.manager.add_message_to_session(made.session_id, message) == message
    read = await world.read(made.session_id)
    assert [(one.id, one.content, one.user_id) for one in read.conversation_history] == [(message.id, "hello", "ann")]
    assert read.message_count == 1
    with pytest.raises(AccessDenied):
        await world.manager.add_message_to_session(made.session_id, Message(content="x"), user_id="somebody else")


@shows("SessionManager.add_message")
async def show_add_message(world: World) -> None:
    made = await world.session()
    await world.manager.add_message(made.session_id, made.user_id, "user", "hello")
    await world.manager.add_message(made.session_id, None, Role.TOOL, "42")
    kept = (await world.read(made.session_id)).conversation_history
    assert [(one.role, one.user_id, one.content) for one in kept] == [
        (Role.USER, made.user_id, "hello"),
        (Role.TOOL, None, "42"),
    ]
    with pytest.raises(SchemaViolation):
        await world.manager.add_message(made.session_id, made.user_id, "ghost", "boo")


@shows("SessionManager.get_session_messages")
async def show_get_session_messages(world: World) -> None:
    made = await world.session()
    for text in ("one", "two", "three"):
        await world.manager.add_message(made.session_id, made.user_id, "user", text)
    latest = await world.manager.get_session_messages(made.session_id, made.user_id, limit=2)
    before = await world.manager.get_session_messages(made.session_id, limit=2, before=latest.cursor)
    assert [one.content for one in latest.items] == ["two", "three"]
    assert ([one.content for one in before.items], before.cursor) == (["one"], None)


@shows("SessionManager.share_session")
async def show_share_session(world: World) -> None:
    made, reader, writer = await world.session(), world.name(), world.name()
    assert made.user_id
    share, say = world.manager.share_session, world.manager.add_message
    await share(made.session_id, made.user_id, reader)
    await share(made.session_id, made.user_id, writer, "write")
    assert await world.manager.session_exists(made.session_id, user_id=reader)
    await say(made.session_id, writer, "user", "hello")
    with pytest.raises(AccessDenied):
        await say(made.session_id, reader, "user", "hello")
    with pytest.raises(AccessDenied):
        await share(made.session_id, writer, world.name())


@shows("SessionManager.revoke_share")
async def show_revoke_share(world: World) -> None:
    made, reader = await world.session(), world.name()
    assert made.user_id
    await world.manager.share_session(made.session_id, made.user_id, reader)
    await world.manager.revoke_share(made.session_id, made.user_id, reader)
    with pytest.raises(AccessDenied):
        await world.manager.get_session(made.session_id, user_id=reader)


@shows("SessionManager.set_visibility")
async def show_set_visibility(world: World) -> None:
    made, anyone = await world.session(), world.name()
    assert made.user_id
    await world.manager.set_visibility(made.session_id, made.user_id, "public")
    assert await world.manager.get_session(made.session_id, user_id=anyone)
    await world.manager.set_visibility(made.session_id, made.user_id, Visibility.PRIVATE)
    with pytest.raises(AccessDenied):
        await world.manager.get_session(made.session_id, user_id=anyone)


@shows("Permission")
async def show_permission(world: World) -> None:
    made, other = await world.session(), world.name()
    assert made.user_id
    made.set_data("a", 1)
    await world.manager.share_session(made.session_id, made.user_id, other, Permission.READ)
    with pytest.raises(AccessDenied):
        await world.manager.update_session(made, user_id=other)
    await world.manager.share_session(made.session_id, made.user_id, other, Permission.WRITE)
    assert await world.manager.update_session(made, user_id=other)


@shows("Visibility")
async def show_visibility(world: World) -> None:
    made = await world.session()
    assert made.user_id
    assert made.visibility is Visibility.PRIVATE
    await world.manager.share_session(made.session_id, made.user_id, world.name())
    assert (await world.read(made.session_id)).visibility is Visibility.SHARED
    await world.manager.set_visibility(made.session_id, made.user_id, Visibility.PUBLIC)
    assert (await world.read(made.session_id)).visibility is Visibility.PUBLIC


@shows("SessionManager.get_audit_log")
async def show_get_audit_log(world: World) -> None:
    made = await world.session()
    for text in ("one", "two", "three"):
        await world.manager.add_message(made.session_id, made.user_id, "user", text)
    first = await world.manager.get_audit_log(made.session_id, user_id=made.user_id, limit=2)
    second = await world.manager.get_audit_log(made.session_id, limit=2, cursor=first.cursor)
    assert [one.action for one in first.items] == ["message_appended", "message_appended"]
    assert [one.action for one in second.items] == ["message_appended", "session_started"]
    with pytest.raises(AccessDenied):
        await world.manager.get_audit_log(made.session_id, user_id="somebody else")


@shows("AuditEntry")
async def show_audit_entry(world: World) -> None:
    made = await world.session()
    assert made.user_id
    await world.manager.set_visibility(made.session_id, made.user_id, Visibility.PUBLIC)
    (entry,) = (await world.manager.get_audit_log(made.session_id, limit=1)).items
    assert (entry.action, entry.actor, entry.sequence) == ("visibility_set", made.user_id, 2)
    assert (entry.target, entry.details) == (None, {"visibility": "public"})
    assert abs(datetime.now(UTC) - entry.at) < timedelta(minutes=1)
