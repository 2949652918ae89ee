"""Many sessions: batches, lists, figures, and requests that are repeated."""

import asyncio
import gc
import warnings
from datetime import timedelta

import pytest

from agentbus.contracts.clock import ManualClock
from agentbus.contracts.errors import SchemaViolation
from agentbus.sessions import (
    AccessDenied,
    LimitExceeded,
    LimitPolicy,
    SessionContext,
    SessionNotFound,
    SessionStatus,
    SessionSystem,
    SessionSystemConfig,
    TemplateNotFound,
)
from agentbus.sessions.sections.creation import Creation
from agentbus.sessions.sections.deletion import Deletion
from tests.harness.patience import PATIENCE


def ids_of(contexts: list[SessionContext]) -> set[str]:
    return {one.session_id for one in contexts}


async def test_each_item_of_a_batch_has_a_result(any_system: SessionSystem) -> None:
    created = await any_system.create_sessions(
        [
            {"user_id": "ann", "agent_id": "a"},
            {"user_id": ""},
            {"chat_id": "chat", "user_id": "ann", "platform": "web"},
            {"user_id": "ann", "template": "missing"},
            {"user_id": "ann", "unknown": 1},
        ]
    )

    assert [one.ok for one in created] == [True, False, True, False, False]
    assert [type(one.error) for one in created if one.error] == [SchemaViolation, TemplateNotFound, SchemaViolation]
    assert created[2].value is not None
    assert created[2].value.chat_id == "chat"

    ids = [one.value.session_id for one in created if one.value]
    deleted = await any_system.delete_sessions([*ids, "missing"], user_id="ann")
    assert [one.value for one in deleted[:2]] == [True, True]
    assert isinstance(deleted[2].error, AccessDenied)
    assert (await any_system.get_statistics("ann")).total == 0
    assert [one.value for one in await any_system.delete_sessions(ids)] == [False, False]


async def test_a_batch_larger_than_is_done_at_a_time(system: SessionSystem) -> None:
    results = await system.create_sessions([{"user_id": "ann", "custom_data": {"n": n}} for n in range(120)])

    assert [one.value.data["n"] for one in results if one.value] == list(range(120))
    assert await system.delete_user_sessions("ann") == 120
    assert (await system.get_statistics()).total == 0


@pytest.mark.parametrize("name", ["create", "delete"])
async def test_of_a_batch_that_is_cancelled_no_call_is_left_that_nobody_made(
    system: SessionSystem, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    made, some = 0, asyncio.Event()

    async def hang(*_: object, **__: object) -> None:
        nonlocal made
        made += 1
        some.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(Creation if name == "create" else Deletion, name, hang)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        many = system.create_sessions([{}] * 130) if name == "create" else system.delete_sessions(["x"] * 130)
        batch = asyncio.ensure_future(many)
        async with asyncio.timeout(PATIENCE):
            await some.wait()
        batch.cancel()
        with pytest.raises(asyncio.CancelledError):
            await batch
        gc.collect()
    assert 0 < made < 130
    assert [str(one.message) for one in told] == []


async def test_the_limit_holds_in_a_batch() -> None:
    config = SessionSystemConfig(enable_cleanup=False, max_sessions_per_user=3, on_limit=LimitPolicy.REFUSE)
    async with SessionSystem(config) as system:
        results = await system.create_sessions([{"user_id": "ann"}] * 5)

        assert sum(one.ok for one in results) == 3
        assert {type(one.error) for one in results if one.error} == {LimitExceeded}


async def test_a_users_and_an_agents_sessions_are_deleted(system: SessionSystem) -> None:
    for user, agent in (("ann", "a"), ("ann", "b"), ("bob", "a"), ("bob", "b")):
        await system.create_session(user_id=user, agent_id=agent)
    parent = await system.create_session(user_id="ann", agent_id="a")
    await system.create_session(user_id="ann", agent_id="b", parent_id=parent.session_id)

    assert await system.delete_agent_sessions("a", user_id="ann") == 2
    assert await system.delete_agent_sessions("a") == 1
    assert await system.delete_user_sessions("ann") == 2
    assert await system.delete_user_sessions("nobody") == 0
    [left] = await system.get_sessions_by_user("bob")
    assert left.agent_id == "b"


async def test_nobody_does_not_mean_everybody(system: SessionSystem) -> None:
    await system.create_session(user_id="ann", agent_id="a")

    for call in (
        system.delete_user_sessions,
        system.delete_agent_sessions,
        system.get_user_sessions,
        system.get_sessions_by_user,
        system.list_user_sessions,
        system.restore_or_create_session,
    ):
        for nobody in (None, ""):
            with pytest.raises(SchemaViolation):
                await call(nobody)  # type: ignore[arg-type]
    assert (await system.get_statistics()).total == 1


async def test_a_session_is_found_again_or_created(system: SessionSystem) -> None:
    first = await system.restore_or_create_session("ann", "agent")
    other = await system.restore_or_create_session("ann", "other agent")
    again = await system.restore_or_create_session("ann", "agent")
    await system.close_session(first.session_id)
    new = await system.restore_or_create_session("ann", "agent")

    assert first.session_id == again.session_id
    assert len({first.session_id, other.session_id, new.session_id}) == 3
    assert new.agent_id == "agent"


async def test_without_an_agent_any_session_of_the_user_is_found_the_latest_first(system: SessionSystem) -> None:
    with_agent = await system.create_session("c1", "ann", "web", agent_id="agent")
    in_a_chat = await system.create_session("c2", "ann", "telegram")
    await system.create_session(user_id="bob")
    await system.add_message(with_agent.session_id, "ann", "user", "hello")
    assert (await system.restore_or_create_session("ann")).session_id == with_agent.session_id
    await system.close_session(with_agent.session_id)
    assert (await system.restore_or_create_session("ann")).session_id == in_a_chat.session_id
    await system.close_session(in_a_chat.session_id)
    assert (await system.restore_or_create_session("ann")).agent_id is None


async def test_of_many_who_find_none_one_creates_it(system: SessionSystem) -> None:
    found = await asyncio.gather(*(system.restore_or_create_session("ann", "agent") for _ in range(20)))

    assert len(ids_of(found)) == 1


async def test_lists_by_status_tags_and_agent(any_system: SessionSystem) -> None:
    one = await any_system.create_session(user_id="ann", agent_id="a", tags=["red", "blue"])
    two = await any_system.create_session(user_id="ann", agent_id="b", tags=["red"])
    closed = await any_system.create_session(user_id="ann")
    await any_system.close_session(closed.session_id)
    await any_system.create_session(user_id="bob", tags=["red"])

    async def listed(**given: object) -> set[str]:
        return ids_of((await any_system.list_user_sessions("ann", **given)).items)  # type: ignore[arg-type]

    assert await listed() == {one.session_id, two.session_id, closed.session_id}
    assert await listed(status="closed") == {closed.session_id}
    assert await listed(tags=["red"]) == {one.session_id, two.session_id}
    assert await listed(tags=["red", "blue"]) == {one.session_id}
    assert await listed(agent_id="b") == {two.session_id}
    assert ids_of(await any_system.get_user_sessions("ann")) == {one.session_id, two.session_id}
    with pytest.raises(SchemaViolation):
        await listed(status="asleep")
    with pytest.raises(ValueError, match="limit"):
        await listed(limit=0)


async def test_a_list_is_read_page_by_page_the_latest_first(timed: SessionSystem, clock: ManualClock) -> None:
    created = []
    for _ in range(7):
        created.append((await timed.create_session(user_id="ann")).session_id)
        clock.advance(timedelta(seconds=1))

    pages, cursor = [], None
    while True:
        page = await timed.list_user_sessions("ann", limit=3, cursor=cursor)
        pages.append([one.session_id for one in page.items])
        cursor = page.cursor
        if cursor is None:
            break

    assert pages == [created[:3:-1], created[3:0:-1], created[:1]]


async def test_figures(timed: SessionSystem, clock: ManualClock) -> None:
    one = await timed.create_session(user_id="ann", agent_id="a")
    two = await timed.create_session(user_id="ann", expires_in=10)
    three = await timed.create_session(user_id="bob")
    clock.advance(timedelta(seconds=6))
    await timed.add_message(one.session_id, "ann", "user", "hi")
    clock.advance(timedelta(seconds=6))
    await timed.cleanup_all_expired()

    figures = await timed.get_statistics()
    assert (figures.total, figures.messages) == (3, 1)
    assert figures.by_status == {SessionStatus.ACTIVE: 2, SessionStatus.EXPIRED: 1}
    assert figures.mean_seconds == pytest.approx(2.0)
    assert (await timed.get_statistics("bob")).total == 1
    assert (await timed.get_statistics(agent_id="a")).messages == 1
    assert await timed.get_active_session_count() == 2
    assert await timed.get_active_session_count("ann") == 1
    active = {one.session_id async for one in timed.get_all_active_sessions()}
    assert active == {one.session_id, three.session_id}
    assert two.session_id not in active


async def test_a_repeated_request_gives_the_session_it_made(any_system: SessionSystem) -> None:
    first = await any_system.create_session("chat", "ann", "web", request_id="first")
    second = await any_system.create_session("chat", "ann", "web", request_id="second")

    again = await any_system.create_session("chat", "ann", "web", request_id="first")
    alone = [await any_system.create_session(user_id="ann", request_id="alone") for _ in range(2)]

    assert (again.session_id, again.status) == (first.session_id, SessionStatus.CLOSED)
    assert await any_system.get_session_state(second.session_id) is SessionStatus.ACTIVE
    assert alone[0].session_id == alone[1].session_id
    assert (await any_system.get_statistics()).total == 3


async def test_a_repeated_request_is_carried_out_once(system: SessionSystem) -> None:
    session = await system.create_session("chat", "ann", "web", expires_in=60)
    for _ in range(3):
        await system.extend_session_lifetime(session.session_id, 10, request_id="extend")
        await system.set_session_state(session.session_id, "suspended", request_id="suspend")
        await system.update_session_metadata(session.session_id, {"a": 1}, request_id="metadata")

    kept = await system.get_session(session.session_id)
    assert kept is not None
    assert session.expires_at is not None
    assert kept.expires_at == session.expires_at + timedelta(seconds=10)
    assert kept.status is SessionStatus.SUSPENDED
    for wrong in ("", "a" * 300, "a\x00"):
        with pytest.raises(SchemaViolation, match="request_id"):
            await system.refresh_session(session.session_id, request_id=wrong)
        with pytest.raises(SchemaViolation, match="request_id"):
            await system.create_session(user_id="ann", request_id=wrong)


async def test_ids_that_can_not_be_are_not_there(any_system: SessionSystem) -> None:
    for wrong in ("", "missing", "../../etc/passwd", "a" * 5000, "a\x00b", "ü🌍", "\ud800", "x.1", None, 5):
        await check_missing(any_system, wrong)  # type: ignore[arg-type]


async def check_missing(any_system: SessionSystem, wrong: str) -> None:
    assert await any_system.get_session(wrong) is None
    assert not await any_system.session_exists(wrong)
    assert not await any_system.delete_session(wrong)
    assert await any_system.get_session_state(wrong) is None
    assert await any_system.get_checkpoint(wrong) is None
    assert await any_system.get_template(wrong) is None
    if isinstance(wrong, str):
        assert await any_system.get_user_session(wrong, "", "web") is None
    for call in (
        any_system.close_session,
        any_system.refresh_session,
        any_system.get_session_messages,
        any_system.acquire_lock,
        any_system.list_children,
        any_system.get_latest_checkpoint,
    ):
        with pytest.raises(SessionNotFound):
            await call(wrong)


@pytest.mark.parametrize("wrong", ["", "a" * 300, "a\x00b"])
async def test_users_that_can_not_be(system: SessionSystem, wrong: str) -> None:
    session = await system.create_session("chat", "ann", "web")
    session.set_data("a", 1)

    with pytest.raises(AccessDenied):
        await system.get_session(session.session_id, user_id=wrong)
    with pytest.raises(SchemaViolation):
        await system.close_session(session.session_id, user_id=wrong)
    with pytest.raises(SchemaViolation):
        await system.update_session(session, user_id=wrong)
    with pytest.raises(SchemaViolation):
        await system.update_session(session, fence=0)
    with pytest.raises(SchemaViolation):
        await system.create_session("chat", wrong, "web")
    assert (await system.get_statistics()).total == 1
