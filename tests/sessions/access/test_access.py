"""Who may see and change a session, and the record of who did."""

from collections.abc import Awaitable, Callable

import pytest

from agentbus.contracts.errors import SchemaViolation, SessionNotFound
from agentbus.sessions import AccessDenied, AuditEntry, Permission, SessionSystem, Visibility

Call = Callable[[SessionSystem, str, str], Awaitable[object]]

READS: dict[str, Call] = {
    "get_session": lambda s, one, user: s.get_session(one, user_id=user),
    "get_session_state": lambda s, one, user: s.get_session_state(one, user_id=user),
    "get_session_messages": lambda s, one, user: s.get_session_messages(one, user),
    "list_checkpoints": lambda s, one, user: s.list_checkpoints(one, user_id=user),
    "get_latest_checkpoint": lambda s, one, user: s.get_latest_checkpoint(one, user_id=user),
    "list_children": lambda s, one, user: s.list_children(one, user_id=user),
    "get_session_tree": lambda s, one, user: s.get_session_tree(one, user_id=user),
}
WRITES: dict[str, Call] = {
    "add_message": lambda s, one, user: s.add_message(one, user, "user", "hi"),
    "update_session_metadata": lambda s, one, user: s.update_session_metadata(one, {"a": 1}, user_id=user),
    "extend_session_lifetime": lambda s, one, user: s.extend_session_lifetime(one, 60, user_id=user),
    "refresh_session": lambda s, one, user: s.refresh_session(one, user_id=user),
    "reset_session_history": lambda s, one, user: s.reset_session_history(one, user_id=user),
    "save_checkpoint": lambda s, one, user: s.save_checkpoint(one, {}, user_id=user),
    "clear_checkpoints": lambda s, one, user: s.clear_checkpoints(one, user_id=user),
    "acquire_lock": lambda s, one, user: s.acquire_lock(one, user_id=user),
    "set_session_state": lambda s, one, user: s.set_session_state(one, "suspended", user_id=user),
}
OWNS: dict[str, Call] = {
    "share_session": lambda s, one, user: s.share_session(one, user, "zoe"),
    "revoke_share": lambda s, one, user: s.revoke_share(one, user, "zoe"),
    "set_visibility": lambda s, one, user: s.set_visibility(one, user, "public"),
    "get_audit_log": lambda s, one, user: s.get_audit_log(one, user_id=user),
    "delete_session": lambda s, one, user: s.delete_session(one, user_id=user),
}
MAY = {
    "nobody": (),
    "reader": ("read",),
    "writer": ("read", "write"),
    "public": ("read",),
    "owner": ("read", "write", "own"),
}
CALLS = [("read", call) for call in READS] + [("write", call) for call in WRITES] + [("own", call) for call in OWNS]


@pytest.mark.parametrize("who", MAY)
async def test_every_call_is_checked(system: SessionSystem, who: str) -> None:
    for right, name in CALLS:
        session = await system.create_session(user_id="ann", expires_in=600)
        session_id = session.session_id
        match who:
            case "reader" | "writer":
                permission = Permission.READ if who == "reader" else Permission.WRITE
                await system.share_session(session_id, "ann", "bob", permission)
            case "public":
                await system.set_visibility(session_id, "ann", Visibility.PUBLIC)
        call = (READS | WRITES | OWNS)[name]
        user = "ann" if who == "owner" else "bob"
        if right in MAY[who]:
            await call(system, session_id, user)
            continue
        with pytest.raises(AccessDenied) as refused:
            await call(system, session_id, user)
        with pytest.raises(AccessDenied) as missing:
            await call(system, "aaaaaaaaaaaaaaaaaaaaaaaaaa.1", user)
        assert str(refused.value) == str(missing.value)


async def test_sharing_and_revoking(system: SessionSystem) -> None:
    session = await system.create_session("chat", "ann", "web")
    session_id = session.session_id
    assert session.visibility is Visibility.PRIVATE

    await system.share_session(session_id, "ann", "bob", permission="write")
    shared = await system.get_session(session_id, user_id="bob")
    assert shared is not None
    assert shared.visibility is Visibility.SHARED
    shared.set_data("from", "bob")
    await system.update_session(shared, user_id="bob")

    await system.share_session(session_id, "ann", "bob", permission="read")
    shared.set_data("from", "bob again")
    with pytest.raises(AccessDenied):
        await system.update_session(shared, user_id="bob")

    await system.revoke_share(session_id, "ann", "bob")
    with pytest.raises(AccessDenied):
        await system.get_session(session_id, user_id="bob")
    kept = await system.get_session(session_id, user_id="ann")
    assert kept is not None
    assert (kept.visibility, kept.data) == (Visibility.PRIVATE, {"from": "bob"})


async def test_who_may_write_may_not_share(system: SessionSystem) -> None:
    session = await system.create_session("chat", "ann", "web")
    await system.share_session(session.session_id, "ann", "bob", "write")

    with pytest.raises(AccessDenied):
        await system.share_session(session.session_id, "bob", "eve")
    with pytest.raises(AccessDenied):
        await system.share_session(session.session_id, "eve", "eve", "write")


async def test_a_public_session_stays_public_when_it_is_shared(system: SessionSystem) -> None:
    session = await system.create_session("chat", "ann", "web")
    await system.set_visibility(session.session_id, "ann", "public")
    await system.share_session(session.session_id, "ann", "bob", "write")
    await system.revoke_share(session.session_id, "ann", "bob")

    assert await system.session_exists(session.session_id, user_id="anybody")
    with pytest.raises(AccessDenied):
        await system.add_message(session.session_id, "bob", "user", "hi")


async def test_the_audit_log_says_who_did_what(any_system: SessionSystem) -> None:
    session = await any_system.create_session("chat", "ann", "web")
    session_id = session.session_id
    await any_system.share_session(session_id, "ann", "bob", "write")
    await any_system.add_message(session_id, "bob", "user", "hi")
    shared = await any_system.get_session(session_id, user_id="bob")
    assert shared is not None
    shared.set_data("a", 1)
    await any_system.update_session(shared, user_id="bob")
    await any_system.set_session_state(session_id, "suspended")
    await any_system.revoke_share(session_id, "ann", "bob")
    await any_system.set_visibility(session_id, "ann", "public")
    await any_system.extend_session_lifetime(session_id, 60, user_id="ann")
    tagged = await any_system.get_session(session_id)
    assert tagged is not None
    tagged.tags = ["a"]
    tagged.metadata["b"] = "not shown"
    await any_system.update_session(tagged, user_id="ann")

    entries: list[AuditEntry] = []
    cursor: str | None = None
    while True:
        page = await any_system.get_audit_log(session_id, user_id="ann", limit=2, cursor=cursor)
        assert len(page.items) <= 2
        entries += page.items
        cursor = page.cursor
        if cursor is None:
            break

    extended = next(one for one in entries if one.action == "extended")
    ends = {"expires_at": tagged.expires_at.isoformat()} if tagged.expires_at else {}
    assert [(one.action, one.actor, one.target, one.details) for one in entries] == [
        ("updated", "ann", None, {"fields": ["tags"]}),
        ("metadata_set", "ann", None, {"fields": ["b"]}),
        ("extended", "ann", None, ends),
        ("visibility_set", "ann", None, {"visibility": "public"}),
        ("revoked", "ann", "bob", {}),
        ("state_changed", None, None, {"status": "suspended", "previous": "active"}),
        ("data_set", "bob", None, {"fields": ["a"]}),
        ("message_appended", "bob", None, {}),
        ("shared", "ann", "bob", {"permission": "write"}),
        ("session_started", "ann", None, {}),
    ]
    assert extended.details
    assert [one.sequence for one in entries] == list(range(10, 0, -1))
    assert entries[0].at >= entries[-1].at


async def test_each_session_of_a_chat_has_its_own_audit_log(system: SessionSystem) -> None:
    first = await system.create_session("chat", "ann", "web")
    second = await system.create_session("chat", "ann", "web")
    await system.add_message(second.session_id, "ann", "user", "hi")

    log = (await system.get_audit_log(first.session_id)).items
    assert [one.action for one in log] == ["session_closed", "session_started"]
    log = (await system.get_audit_log(second.session_id)).items
    assert [(one.action, one.actor) for one in log] == [("message_appended", "ann"), ("session_started", "ann")]


async def test_what_can_not_be_shared(system: SessionSystem) -> None:
    session = await system.create_session("chat", "ann", "web")
    with pytest.raises(SchemaViolation):
        await system.share_session(session.session_id, "ann", "bob", "admin")
    with pytest.raises(SchemaViolation):
        await system.share_session(session.session_id, "ann", "")
    with pytest.raises(SchemaViolation):
        await system.set_visibility(session.session_id, "ann", "secret")
    with pytest.raises(ValueError, match="limit"):
        await system.get_audit_log(session.session_id, limit=0)
    with pytest.raises(SessionNotFound):
        await system.get_audit_log("aaaaaaaaaaaaaaaaaaaaaaaaaa.1")
