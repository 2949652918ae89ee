"""Calls that deal with many sessions: none is overlooked, and none keeps another from its turn."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from agentbus.contracts.clock import ManualClock
from agentbus.contracts.commands import CloseSession
from agentbus.contracts.errors import ConversationBlocked
from agentbus.contracts.events import Commit
from agentbus.contracts.history import Page, SessionFilter
from agentbus.contracts.ids import SessionId
from agentbus.contracts.session import FailurePolicy, SessionState
from agentbus.sessions import (
    AgentBusError,
    LimitExceeded,
    LimitPolicy,
    SessionContext,
    SessionManager,
    SessionStatus,
    SessionSystem,
    SessionSystemConfig,
    StoreUnavailable,
)
from agentbus.sessions.sections.deletion import Deletion
from agentbus.sessions.sections.shared import Commands
from agentbus.storage import reading
from agentbus.workers.domain.admission.blocking import block
from agentbus.workers.domain.evolve import heads_after
from tests.harness.clock import later

Ids = Callable[[SessionSystem, str], Awaitable[set[str]]]


async def blocked(system: SessionSystem, session_id: SessionId) -> None:
    """Have a conversation wait for an input that was parked."""
    store = system._store
    head = await store.heads.get(session_id)
    assert head is not None
    now = datetime.now(UTC)
    events = block(head, "parked", "boom", now, default=FailurePolicy.BLOCK)  # type: ignore[arg-type]
    commit = Commit(
        conversation_id=head.conversation_id,
        version=head.version + 1,
        epoch=head.epoch,
        at=now,
        inputs=(),
        events=events,
    )
    assert await store.log.append([commit]) == [None]
    await store.heads.save(heads_after(head, commit))


def ids_of(contexts: list[SessionContext]) -> set[str]:
    return {one.session_id for one in contexts}


async def _each(sessions: AsyncIterator[SessionContext]) -> list[SessionContext]:
    return [one async for one in sessions]


async def _deleted(system: SessionSystem, call: Awaitable[int]) -> set[str]:
    """Return what was deleted, which must be as many as the call says."""
    before = ids_of(await system.find_sessions(SessionFilter(owner="ann")))
    count = await call
    after = ids_of(await system.find_sessions(SessionFilter(owner="ann")))
    assert count == len(before - after)
    return before - after


READERS: Final[dict[str, Callable[[SessionSystem, SessionContext], Awaitable[list[SessionContext]]]]] = {
    "get_user_sessions": lambda s, _: s.get_user_sessions("ann"),
    "get_sessions_by_user": lambda s, _: s.get_sessions_by_user("ann"),
    "find_sessions": lambda s, _: s.find_sessions(SessionFilter(owner="ann")),
    "get_all_active_sessions": lambda s, _: _each(s.get_all_active_sessions()),
    "list_children": lambda s, parent: s.list_children(parent.session_id),
}
DELETERS: Final[dict[str, Callable[[SessionSystem], Awaitable[int]]]] = {
    "delete_user_sessions": lambda s: s.delete_user_sessions("ann"),
    "delete_agent_sessions": lambda s: s.delete_agent_sessions("bot"),
}


async def many(system: SessionSystem, monkeypatch: pytest.MonkeyPatch, between: Callable[..., Awaitable[None]]) -> Any:
    """Make a parent's sessions, and have `between` called with the first of them after the first page is read."""
    monkeypatch.setattr(reading, "PAGE", 4)
    parent = await system.create_session(user_id="ann", agent_id="bot")
    made = [
        (await system.create_session(user_id="ann", agent_id="bot", parent_id=parent.session_id)).session_id
        for _ in range(11)
    ]
    store, pages = system._store, 0
    listed = store.heads.page

    async def list_sessions(where: SessionFilter, **how: Any) -> Page[SessionState]:
        nonlocal pages
        page = await listed(where, **how)
        pages += 1
        if pages == 1:
            await between(made[0])
        return page

    monkeypatch.setattr(store.heads, "page", list_sessions)
    return parent, made


@pytest.mark.parametrize("name", READERS)
async def test_a_list_overlooks_nothing_that_becomes_active_meanwhile(
    any_system: SessionSystem, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    async def write(session_id: str) -> None:
        await any_system.add_message(session_id, "ann", "user", "hello")

    parent, made = await many(any_system, monkeypatch, write)

    found = await READERS[name](any_system, parent)

    assert len(found) == len(ids_of(found))
    assert ids_of(found) - {parent.session_id} == set(made)


@pytest.mark.parametrize("name", DELETERS)
async def test_all_are_deleted_those_too_that_come_and_become_active_meanwhile(
    any_system: SessionSystem, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    async def write(session_id: str) -> None:
        await any_system.add_message(session_id, "ann", "user", "hello")
        await any_system.create_session(user_id="ann", agent_id="bot")

    await many(any_system, monkeypatch, write)

    assert await DELETERS[name](any_system) == 13
    assert await any_system.get_sessions_by_user("ann") == []


async def test_who_wakes_up_meanwhile_is_live(
    timed: SessionSystem, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeper = await timed.create_session(user_id="ann")
    clock.advance(timedelta(seconds=601))
    await timed.cleanup_all_expired()
    assert await timed.get_session_state(sleeper.session_id) is SessionStatus.IDLE

    async def wake(_: str) -> None:
        await timed.add_message(sleeper.session_id, "ann", "user", "good morning")

    await many(timed, monkeypatch, wake)
    assert sleeper.session_id in ids_of(await timed.get_user_sessions("ann"))


async def test_reading_ends_though_somebody_always_writes(
    system: SessionSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(_: str) -> None:
        return

    _, made = await many(system, monkeypatch, nothing)
    listed, written = system._store.heads.page, 0

    async def list_sessions(where: SessionFilter, **how: Any) -> Page[SessionState]:
        nonlocal written
        page = await listed(where, **how)
        written += 1
        await system.create_session(user_id="ann")
        return page

    monkeypatch.setattr(system._store.heads, "page", list_sessions)
    found = await system.get_sessions_by_user("ann")
    assert set(made) <= ids_of(found)
    assert written < 500


async def test_one_that_is_blocked_keeps_no_other_from_its_turn(timed: SessionSystem, clock: ManualClock) -> None:
    sessions = [await timed.create_session(user_id="ann", agent_id="bot", expires_in=60) for _ in range(3)]
    stuck = sessions[1].session_id
    await blocked(timed, stuck)
    clock.advance(timedelta(seconds=61))

    report = await timed.cleanup_expired_sessions()
    assert (set(report.expired), set(report.failed)) == (ids_of(sessions) - {stuck}, {stuck})
    count = await timed.cleanup_all_expired()
    assert (count, set(count.failed)) == (0, {stuck})
    assert isinstance(count.failed[stuck], ConversationBlocked)

    clock.advance(timedelta(days=2))
    await timed.create_session(user_id="bob")
    count = await timed.batch_cleanup(older_than_days=1)
    assert (count, dict(count.failed), f"{count} {count!r}") == (2, {}, "2 Count(2, failed={})")
    for call in (timed.delete_user_sessions("ann"), timed.delete_agent_sessions("bot")):
        count = await call
        assert (count, set(count.failed)) == (0, {stuck})


async def test_an_ended_one_that_is_blocked_stays_and_the_rest_is_cleaned_up(system: SessionSystem) -> None:
    sessions = [await system.create_session(user_id="ann") for _ in range(3)]
    for one in sessions:
        await system.close_session(one.session_id)
    await blocked(system, sessions[2].session_id)
    await later()

    count = await system.batch_cleanup(older_than_days=0)

    assert (count, set(count.failed)) == (2, {sessions[2].session_id})
    assert ids_of(await system.get_sessions_by_user("ann")) == {sessions[2].session_id}


async def test_a_thousand_that_stay_due_hide_none(
    timed: SessionSystem, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MAX_PAGE", 3)
    stuck = [(await timed.create_session(user_id="ann", expires_in=60)).session_id for _ in range(4)]
    for one in stuck:
        await blocked(timed, one)
    others = [(await timed.create_session(user_id="bob", expires_in=120)).session_id for _ in range(5)]
    clock.advance(timedelta(seconds=121))

    report = await timed.cleanup_expired_sessions(dry_run=True)
    assert set(report.expired) == {*stuck, *others}
    report = await timed.cleanup_expired_sessions()
    assert (set(report.expired), set(report.failed)) == (set(others), set(stuck))


async def test_what_is_wrong_with_the_store_is_raised(system: SessionSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        await system.create_session(user_id="ann")
    delete = Deletion.delete
    failed: list[str] = []

    async def fail_once(deletion: Deletion, session_id: str, *how: Any) -> bool:
        if not failed:
            failed.append(session_id)
            raise StoreUnavailable
        return await delete(deletion, session_id, *how)

    monkeypatch.setattr(Deletion, "delete", fail_once)
    with pytest.raises(StoreUnavailable):
        await system.delete_user_sessions("ann")
    assert ids_of(await system.get_sessions_by_user("ann")) == set(failed)


def limited(**settings: Any) -> SessionSystem:
    chosen = {"max_sessions_per_user": 1, "on_limit": LimitPolicy.CLOSE_OLDEST, **settings}
    return SessionSystem(SessionSystemConfig(enable_cleanup=False, partitions=8, **chosen))


async def test_a_session_that_is_refused_costs_nobody_another() -> None:
    async with limited() as system:
        old = await system.create_session(user_id="ann")
        with pytest.raises(LimitExceeded, match="4096"):
            await system.create_session(user_id="ann", custom_data={"a" * 3000: {"b" * 3000: 1}})
        assert ids_of(await system.get_user_sessions("ann")) == {old.session_id}

        new = await system.create_session(user_id="ann")
        assert ids_of(await system.get_user_sessions("ann")) == {new.session_id}


async def test_an_oldest_one_that_is_blocked_is_passed_over() -> None:
    async with limited(max_sessions_per_user=2) as system:
        stuck = await system.create_session(user_id="ann")
        await blocked(system, stuck.session_id)
        await later()
        second = await system.create_session(user_id="ann")
        await later()
        third = await system.create_session(user_id="ann")
        assert ids_of(await system.get_user_sessions("ann")) == {one.session_id for one in (stuck, second, third)}

        fourth = await system.create_session(user_id="ann")
        assert ids_of(await system.get_user_sessions("ann")) == {one.session_id for one in (stuck, third, fourth)}


async def test_a_session_that_was_created_is_given_though_no_other_could_be_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with limited() as system:
        old = await system.create_session(user_id="ann")
        carry_out = Commands.carry_out

        async def fail(commands: Commands, session_id: str, kind: type, *given: Any, **fields: Any) -> Any:
            if kind is CloseSession:
                raise StoreUnavailable
            return await carry_out(commands, session_id, kind, *given, **fields)

        monkeypatch.setattr(Commands, "carry_out", fail)
        new = await system.create_session(user_id="ann")
        assert ids_of(await system.get_user_sessions("ann")) == {old.session_id, new.session_id}
        monkeypatch.undo()
        last = await system.create_session(user_id="ann")
        assert ids_of(await system.get_user_sessions("ann")) == {last.session_id}


WRONG: Final[tuple[Any, ...]] = (5, -1.5, "\x00", b"x", object(), [object()], {"a": object()}, {1: 2}, ["a", 5])
PARAMETERS: Final = tuple(
    name for name in inspect.signature(SessionManager.create_session).parameters if name != "self"
)


@pytest.mark.parametrize("name", PARAMETERS)
async def test_an_item_that_can_not_be_is_its_own_failure(system: SessionSystem, name: str) -> None:
    items: list[Any] = [{"chat_id": "c", "user_id": "ann", name: wrong} for wrong in WRONG]
    results = await system.create_sessions([{"user_id": "bob"}, *items, {"user_id": "bob"}])

    assert results[0].ok
    assert results[-1].ok
    for result in results:
        assert result.ok or isinstance(result.error, AgentBusError)
        assert "fault of AgentBus" not in str(result.error)


async def test_an_item_that_is_none_is_its_own_failure(system: SessionSystem) -> None:
    results = await system.create_sessions([{"user_id": "bob"}, None, 5, "x"])  # type: ignore[list-item]
    assert [one.ok for one in results] == [True, False, False, False]
    gone = await system.delete_sessions([None, 5, "x"])  # type: ignore[list-item]
    assert [one.value for one in gone] == [False, False, False]


async def test_a_fault_of_ours_is_the_failure_of_one(system: SessionSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    create = system.create_session

    async def faulty(**given: Any) -> SessionContext:
        if given["user_id"] == "eve":
            raise ZeroDivisionError("no")
        await asyncio.sleep(0)
        return await create(**given)

    monkeypatch.setattr(system, "create_session", faulty)
    results = await system.create_sessions([{"user_id": name} for name in ("ann", "eve", "bob")])

    assert [one.ok for one in results] == [True, False, True]
    assert isinstance(results[1].error, AgentBusError)
    assert isinstance(results[1].error.__cause__, ZeroDivisionError)
