"""Deleting sessions, and what becomes of their children and of what is kept beside them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from agentbus.contracts.commands import AnyCommand, CommandReply, CreateSession, DeleteSession, UpdateSession
from agentbus.contracts.errors import Refused, SchemaViolation
from agentbus.contracts.history import SessionFilter
from agentbus.contracts.ids import SessionId
from agentbus.contracts.messages import said_key
from agentbus.sessions import (
    AccessDenied,
    ChildPolicy,
    Message,
    RequestReused,
    SessionNotFound,
    SessionStatus,
    SessionSystem,
)
from agentbus.sessions.engine import Engine
from agentbus.sessions.model.context import SessionContext
from agentbus.workers.domain.commands import lifecycle


async def a_family(system: SessionSystem) -> tuple[SessionContext, SessionContext, SessionContext]:
    """Return a session, its child, and the child's child."""
    parent = await system.create_session(user_id="ann")
    child = await system.create_session(user_id="ann", parent_id=parent.session_id)
    grandchild = await system.create_session(user_id="ann", parent_id=child.session_id)
    return parent, child, grandchild


async def test_children_are_listed_and_shown_as_a_tree(any_system: SessionSystem) -> None:
    parent, child, grandchild = await a_family(any_system)
    second = await any_system.create_session(user_id="ann", parent_id=parent.session_id)

    children = await any_system.list_children(parent.session_id)
    tree = await any_system.get_session_tree(parent.session_id)

    assert {one.session_id for one in children} == {child.session_id, second.session_id}
    assert tree.session.session_id == parent.session_id
    below = {one.session.session_id: [leaf.session.session_id for leaf in one.children] for one in tree.children}
    assert below == {child.session_id: [grandchild.session_id], second.session_id: []}
    assert child.parent_id == parent.session_id


async def test_a_parent_must_be_there_and_be_the_users_to_change(system: SessionSystem) -> None:
    parent = await system.create_session(user_id="ann")

    with pytest.raises(SessionNotFound):
        await system.create_session(agent_id="agent", parent_id="aaaaaaaaaaaaaaaaaaaaaaaaaa.1")
    with pytest.raises(AccessDenied):
        await system.create_session(user_id="eve", parent_id=parent.session_id)
    assert await system.list_children(parent.session_id) == []


async def test_a_user_sees_the_children_that_are_theirs_to_see(system: SessionSystem) -> None:
    parent, child, _ = await a_family(system)
    await system.share_session(parent.session_id, "ann", "bob")

    assert await system.list_children(parent.session_id, user_id="bob") == []
    assert (await system.get_session_tree(parent.session_id, user_id="bob")).children == []
    await system.share_session(child.session_id, "ann", "bob")
    assert [one.session_id for one in await system.list_children(parent.session_id, user_id="bob")] == [
        child.session_id
    ]
    with pytest.raises(AccessDenied):
        await system.get_session_tree(parent.session_id, user_id="eve")


async def test_a_session_with_children_is_not_deleted_unless_asked(system: SessionSystem) -> None:
    parent, child, _ = await a_family(system)

    with pytest.raises(Refused, match="children"):
        await system.delete_session(parent.session_id)

    assert await system.session_exists(parent.session_id)
    assert await system.session_exists(child.session_id)


async def test_children_are_detached_if_asked(system: SessionSystem) -> None:
    parent, child, grandchild = await a_family(system)

    assert await system.delete_session(parent.session_id, children="detach")

    left = await system.get_session(child.session_id)
    assert left is not None
    assert left.parent_id is None
    assert [one.session_id for one in await system.list_children(child.session_id)] == [grandchild.session_id]


async def test_children_are_deleted_with_theirs_if_asked(any_system: SessionSystem) -> None:
    family = await a_family(any_system)

    assert await any_system.delete_session(family[0].session_id, children=ChildPolicy.CASCADE)

    for member in family:
        assert await any_system.get_session(member.session_id) is None
    assert (await any_system.get_statistics()).total == 0


async def test_an_unknown_rule_deletes_nothing(system: SessionSystem) -> None:
    parent, _, _ = await a_family(system)

    with pytest.raises(SchemaViolation):
        await system.delete_session(parent.session_id, children="orphan")
    assert await system.session_exists(parent.session_id)


async def test_an_earlier_session_of_a_chat_is_deleted_alone(any_system: SessionSystem) -> None:
    first = await any_system.create_session("chat", "ann", "web", custom_data={"secret": 1})
    second = await any_system.create_session("chat", "ann", "web")

    assert await any_system.delete_session(first.session_id, user_id="ann")

    assert await any_system.get_session(first.session_id) is None
    kept = await any_system.get_session(second.session_id)
    assert kept is not None
    assert kept.status is SessionStatus.ACTIVE
    assert [one.session_id for one in await any_system.get_sessions_by_user("ann")] == [second.session_id]
    assert not await any_system.delete_session(first.session_id)


async def test_only_the_owner_deletes(system: SessionSystem) -> None:
    first = await system.create_session("chat", "ann", "web")
    await system.share_session(first.session_id, "ann", "bob", "write")
    second = await system.create_session("chat", "ann", "web")

    for session in (first, second):
        for user in ("bob", "eve"):
            with pytest.raises(AccessDenied):
                await system.delete_session(session.session_id, user_id=user)
        assert await system.session_exists(session.session_id)
    with pytest.raises(AccessDenied):
        await system.delete_session("aaaaaaaaaaaaaaaaaaaaaaaaaa.1", user_id="ann")


async def test_a_chat_goes_on_after_its_session_was_deleted(system: SessionSystem) -> None:
    first = await system.create_session("chat", "ann", "web")
    await system.delete_session(first.session_id)

    assert await system.get_user_session("ann", "chat", "web") is None
    with pytest.raises(SessionNotFound):
        await system.add_message_to_session(first.session_id, Message(content="hi", user_id="ann"))
    second = await system.create_session("chat", "ann", "web")
    assert second.session_id != first.session_id
    assert await system.session_exists(second.session_id)


async def test_its_checkpoints_go_with_a_session(system: SessionSystem) -> None:
    session = await system.create_session("chat", "ann", "web")
    checkpoint = await system.save_checkpoint(session.session_id, {"a": 1})

    await system.delete_session(session.session_id)

    assert await system.get_checkpoint(checkpoint) is None


async def test_deleting_again_with_the_same_request_says_the_same_and_changes_nothing(system: SessionSystem) -> None:
    session = await system.create_session("chat", "ann", "web")

    assert await system.delete_session(session.session_id, request_id="r")
    newer = await system.create_session("chat", "ann", "web")
    assert await system.delete_session(session.session_id, request_id="r")
    assert not await system.delete_session(session.session_id)
    assert await system.session_exists(newer.session_id)


@pytest.mark.parametrize("user", [None, "ann"])
@pytest.mark.parametrize("earlier", [False, True], ids=["current", "earlier"])
async def test_of_two_who_delete_a_session_at_once_one_is_told_that_there_was_one(
    any_system: SessionSystem, user: str | None, *, earlier: bool
) -> None:
    session = await any_system.create_session("chat", "ann", "web")
    if earlier:
        await any_system.create_session("chat", "ann", "web")
    both = (any_system.delete_session(session.session_id, user_id=user) for _ in range(2))
    assert sorted(await asyncio.gather(*both)) == [False, True]


async def test_a_deletion_with_the_id_of_another_request_is_refused_though_the_session_is_gone(
    system: SessionSystem,
) -> None:
    first = (await system.create_session("chat", "ann", "web")).session_id
    await system.update_session_metadata(first, {"a": 1}, request_id="changed")
    await system.add_message(first, "ann", "user", "hello", message_id="said")
    await system.delete_session(first, request_id="first")
    second = (await system.create_session("chat", "ann", "web")).session_id
    await system.delete_session(second, user_id="ann", request_id="second")

    said = said_key(SessionId(first), "said")
    for session, reused in ((first, "changed"), (first, said), (first, "second"), (second, "first")):
        with pytest.raises(RequestReused):
            await system.delete_session(session, request_id=reused)
    with pytest.raises(AccessDenied):
        await system.delete_session(first, user_id="eve", request_id="changed")
    assert await system.delete_session(first, request_id="first")
    assert await system.delete_session(second, request_id="second")
    assert not await system.delete_session(first, request_id="new")


def just_before(monkeypatch: pytest.MonkeyPatch, kind: type[AnyCommand], act: Callable[[], Awaitable[object]]) -> None:
    """Have something else happen, once, between what a call looked at and the command that it then sends."""
    real, left = Engine.send, [act]

    async def send(self: Engine, command: AnyCommand, **given: Any) -> CommandReply:
        if left and isinstance(command, kind):
            await left.pop()()
        return await real(self, command, **given)

    monkeypatch.setattr(Engine, "send", send)


async def test_a_session_that_is_superseded_as_its_owner_deletes_it_is_deleted(
    system: SessionSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await system.create_session("chat", "ann", "web")
    just_before(monkeypatch, DeleteSession, lambda: system.create_session("chat", "ann", "web"))

    assert await system.delete_session(first.session_id, user_id="ann")

    assert not await system.session_exists(first.session_id)
    assert await system.get_user_session("ann", "chat", "web")


@pytest.mark.parametrize("policy", list(ChildPolicy))
async def test_a_child_that_comes_as_its_parent_is_deleted_does_not_stay_its_child(
    any_system: SessionSystem, policy: ChildPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody saw it when the parent's children were settled, and who created it saw the parent."""
    parent = await any_system.create_session(user_id="ann")
    born: list[SessionContext] = []

    async def create() -> None:
        born.append(await any_system.create_session(user_id="ann", parent_id=parent.session_id))

    just_before(monkeypatch, DeleteSession, create)
    assert await any_system.delete_session(parent.session_id, children=policy)

    left = await any_system.get_session(born[0].session_id)
    if policy is ChildPolicy.CASCADE:
        assert left is None
    else:
        assert left is not None
        assert left.parent_id is None


@pytest.mark.parametrize(("user", "refusal"), [(None, SessionNotFound), ("ann", AccessDenied)])
async def test_no_child_begins_once_its_parent_is_deleted(
    any_system: SessionSystem, user: str | None, refusal: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the command may be carried out long after its sender looked: it waited, or was sent again."""
    parent = await any_system.create_session(user_id="ann")
    just_before(monkeypatch, CreateSession, lambda: any_system.delete_session(parent.session_id))

    with pytest.raises(refusal):
        await any_system.create_session(user_id=user, parent_id=parent.session_id)
    assert (await any_system.get_statistics()).total == 0


async def a_parent_gone_unseen(system: SessionSystem, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have the next child's parent be deleted between the look of the child's owner and the child's beginning."""
    parent = await system.create_session(user_id="ann")
    monkeypatch.setattr(lifecycle, "check_parent", lambda *_: None)
    just_before(monkeypatch, CreateSession, lambda: system.delete_session(parent.session_id))
    return parent.session_id


async def test_a_child_that_begins_just_after_its_parent_was_deleted_has_none(
    any_system: SessionSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = await a_parent_gone_unseen(any_system, monkeypatch)

    child = await any_system.create_session(user_id="ann", parent_id=parent)

    assert child.parent_id is None
    kept = await any_system.get_session(child.session_id)
    assert kept is not None
    assert kept.parent_id is None


async def test_a_child_whose_creator_dies_before_it_sees_that_is_left_by_deleting_the_parent_again(
    system: SessionSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = await a_parent_gone_unseen(system, monkeypatch)

    async def dies() -> None:
        raise ConnectionError("the process has ended")

    just_before(monkeypatch, UpdateSession, dies)
    with pytest.raises(ConnectionError):
        await system.create_session(user_id="ann", parent_id=parent)
    (child,) = await system.get_sessions_by_user("ann")
    assert child.parent_id == parent

    assert not await system.delete_session(parent)

    kept = await system.get_session(child.session_id)
    assert kept is not None
    assert kept.parent_id is None


@pytest.mark.parametrize(("user", "refusal"), [(None, SessionNotFound), ("ann", AccessDenied)])
async def test_a_child_that_goes_with_its_parent_as_it_begins_is_refused_like_one_of_a_parent_that_is_gone(
    system: SessionSystem, user: str | None, refusal: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = await a_parent_gone_unseen(system, monkeypatch)

    async def goes_too() -> None:
        (child,) = await system.find_sessions(SessionFilter(parent_id=SessionId(parent)))
        await system.delete_session(child.session_id)

    just_before(monkeypatch, UpdateSession, goes_too)
    with pytest.raises(refusal):
        await system.create_session(user_id=user, parent_id=parent)
    assert (await system.get_statistics()).total == 0
