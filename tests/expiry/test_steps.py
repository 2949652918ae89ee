"""What an expiry worker does to sessions: steps in their time, activity that moves them, the archive, a merge."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from agentbus.contracts.commands import (
    ChangeState,
    CloseSession,
    DeleteSession,
    ExpireSession,
    ExtendSession,
    SetData,
    SetMetadata,
)
from agentbus.contracts.events import MessageAppended, StateChanged
from agentbus.contracts.expiry import CleanupAction, Conditions, ExpiryRule, ExpiryStrategy, Step
from agentbus.contracts.ids import SessionId, conversation_of
from agentbus.contracts.records import RecordKind
from agentbus.contracts.session import SessionStatus
from agentbus.storage.history import iter_history
from agentbus.workers.archive.restoring import restore_session
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.domain.expiry import register_condition
from agentbus.workers.erasure.users import Erasing, erase_user
from agentbus.workers.expiry.statistics import Outcome
from agentbus.workers.expiry.worker import ExpiryWorker
from tests.expiry.world import World, a_rule, a_world

NOTIFY, SUSPEND, EXPIRE = CleanupAction.NOTIFY, CleanupAction.SUSPEND, CleanupAction.EXPIRE
ARCHIVE, MERGE, DELETE = CleanupAction.ARCHIVE, CleanupAction.MERGE, CleanupAction.DELETE


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with a_world(archive="memory://expiry-steps") as world:
        yield world


async def until_counted(world: World, worker: ExpiryWorker, **expected: int) -> None:
    """Wait until the statistics are these."""

    async def counted() -> bool:
        return (await worker.figures.statistics()).total == expected

    await world.until(counted)


async def until_status(world: World, session: SessionId, status: SessionStatus) -> None:
    async def has_it() -> bool:
        return (await world.head(session)).status is status

    await world.until(has_it)


async def until_dropped(world: World, session: SessionId) -> None:
    """Wait until nothing is left to watch for."""

    async def dropped() -> bool:
        world.advance(1)
        return await world.store.records.get(RecordKind.DEADLINE, session) is None

    await world.until(dropped)


async def until_archived(world: World, session: SessionId, files: int) -> None:
    """Wait until the archive has so many files of a session."""

    async def has_them() -> bool:
        world.advance(1)
        return await world.archived(session) == files

    await world.until(has_them)


@pytest.mark.parametrize(
    ("action", "taken", "status", "outcome"),
    [
        (NOTIFY, NOTIFY, SessionStatus.ACTIVE, Outcome.NOTIFIED),
        (SUSPEND, SUSPEND, SessionStatus.SUSPENDED, Outcome.SUSPENDED),
        (EXPIRE, EXPIRE, SessionStatus.EXPIRED, Outcome.EXPIRED),
        (MERGE, EXPIRE, SessionStatus.EXPIRED, Outcome.EXPIRED),  # there is no other session to merge it into
        (ARCHIVE, ARCHIVE, SessionStatus.ARCHIVED, Outcome.ARCHIVED),
        (DELETE, DELETE, SessionStatus.DELETED, Outcome.DELETED),
    ],
)
async def test_a_silent_session_is_dealt_with_by_its_rule(
    world: World, action: CleanupAction, taken: CleanupAction, status: SessionStatus, outcome: Outcome
) -> None:
    async with world.expiring(a_rule("silent", action)) as worker:
        session = await world.session()
        await world.scheduled(session)
        world.advance(59.9)
        await worker._due.turn()
        assert (await world.head(session)).is_live
        assert world.steps() == []

        world.advance(0.1)
        await until_status(world, session, status)
        await until_counted(world, worker, **{outcome: 1})
        assert world.steps(session) == [("silent", 0, taken)]


async def test_the_deadline_of_a_last_step_goes_when_the_step_is_heard_of(world: World) -> None:
    async with world.expiring(a_rule("silent", NOTIFY, Step(action=EXPIRE, after=30.0))):
        session = await world.session()
        await world.scheduled(session)
        world.advance(60)
        await world.until_steps(1)
        await world.until(lambda: _is_due(world, session, 30.0))
        world.advance(30)
        await until_status(world, session, SessionStatus.EXPIRED)

        async def dropped() -> bool:  # by a clock that stands still: nothing came due for it
            return await world.store.records.get(RecordKind.DEADLINE, session) is None

        await world.until(dropped)


async def _is_due(world: World, session: SessionId, seconds: float) -> bool:
    """Whether a session is looked at so many seconds from now."""
    kept = await world.store.records.get(RecordKind.DEADLINE, session)
    return kept is not None and kept.due_at == world.clock.now() + timedelta(seconds=seconds)


async def test_activity_moves_the_deadline(world: World) -> None:
    async with world.expiring(a_rule("silent")) as worker:
        session = await world.session()
        await world.scheduled(session)
        for number in range(3):
            world.advance(50)
            await world.send(SetData(session_id=session, values={"number": number}))
            while await worker._due.turn():
                pass
            assert (await world.head(session)).is_live
        world.advance(60)
        await until_status(world, session, SessionStatus.EXPIRED)
        await world.until_steps(1)
        assert world.steps() == [("silent", 0, EXPIRE)]


async def test_what_happens_before_the_command_gets_there_wins(world: World) -> None:
    async with world.expiring() as worker:
        session = await world.session()
        before = await world.head(session)
        await world.say("still here")
        await world.until(lambda: _has_messages(world, session, 1))
        late = ExpireSession(session_id=session, rule_id="r", step=0, action=EXPIRE, seen=before.sequence)
        await world.send(late)
        assert (await world.head(session)).status is SessionStatus.ACTIVE
        assert world.steps() == []
        assert (await worker.figures.statistics()).total == {}


async def test_a_rule_goes_from_step_to_step(world: World) -> None:
    rule = a_rule(
        "staged",
        NOTIFY,
        Step(action=SUSPEND, after=10),
        Step(action=ARCHIVE, after=20),
        Step(action=DELETE, after=30),
        warn_before=15,
    )
    async with world.expiring(rule) as worker:
        session = await world.session()
        await world.say("hello")
        await world.until(lambda: _has_messages(world, session, 1))
        await world.scheduled(session)
        world.advance(45)
        await until_counted(world, worker, warned=1)
        world.advance(15)
        await until_counted(world, worker, warned=1, notified=1)
        assert (await world.head(session)).status is SessionStatus.ACTIVE
        world.advance(10)
        await until_status(world, session, SessionStatus.SUSPENDED)
        await until_counted(world, worker, warned=1, notified=1, suspended=1)
        world.advance(20)
        await until_status(world, session, SessionStatus.ARCHIVED)
        await until_counted(world, worker, warned=1, notified=1, suspended=1, archived=1)
        await world.until(lambda: _is_stripped(world, session))
        log = await world.store.log.read((await world.head(session)).conversation_id, limit=100)
        assert not any(isinstance(event, MessageAppended) for commit in log for event in commit.events)
        world.advance(30)
        await until_status(world, session, SessionStatus.DELETED)
        await until_archived(world, session, 0)
        await until_dropped(world, session)
        await until_counted(world, worker, warned=1, notified=1, suspended=1, archived=1, deleted=1)
    assert world.steps() == [
        ("staged", step, action) for step, action in enumerate((NOTIFY, NOTIFY, SUSPEND, ARCHIVE, DELETE), start=-1)
    ]


async def readable(world: World, session: SessionId) -> int:
    """Return how many messages of a session can be read in the store."""
    return len([item async for item in iter_history(world.store, await world.head(session))])


@pytest.mark.parametrize("rules", [(), (a_rule("silent"),)], ids=["no rule", "a rule for it"])
async def test_who_makes_a_session_archived_has_it_moved_to_the_archive(
    world: World, rules: tuple[ExpiryRule, ...]
) -> None:
    async with world.expiring(*rules) as worker:
        session = await world.session()
        await world.say("hello")
        await world.until(lambda: _has_messages(world, session, 1))
        await world.send(ChangeState(session_id=session, status=SessionStatus.ARCHIVED))

        await until_archived(world, session, 1)
        await until_dropped(world, session)

        assert (await worker.figures.statistics()).total == {}, "nothing failed"
    assert world.archive is not None
    assert await readable(world, session) == 0
    commands = Inputs(world.bus)
    restored = await restore_session(world.store, world.archive, commands, session, clock=world.clock)
    assert restored.status is SessionStatus.ACTIVE
    assert await readable(world, session) == 1


async def test_without_an_archive_a_session_that_a_call_made_archived_stays_in_the_store(world: World) -> None:
    archive, world.archive = world.archive, None
    async with world.expiring(a_rule("silent")) as worker:
        session = await world.session()
        await world.say("hello")
        await world.until(lambda: _has_messages(world, session, 1))
        await world.scheduled(session)
        await world.send(ChangeState(session_id=session, status=SessionStatus.ARCHIVED))
        await until_dropped(world, session)
        assert (await worker.figures.statistics()).total == {}, "nothing failed"
    head = await world.head(session)
    assert (head.status, head.archive) == (SessionStatus.ARCHIVED, None)
    assert await readable(world, session) == 1
    world.archive = archive
    async with world.expiring(a_rule("silent", NOTIFY)):  # other rules: all sessions are looked at
        await until_archived(world, session, 1)


@pytest.mark.parametrize("running", [True, False], ids=["while it runs", "before it starts"])
async def test_who_deletes_an_archived_session_deletes_it_in_the_archive_too(world: World, running: bool) -> None:
    async with world.expiring(a_rule("silent", ARCHIVE)):
        sessions = [await world.session(user) for user in ("ada", "bob")]
        await world.scheduled(*sessions)
        world.advance(60)
        for session in sessions:
            await until_status(world, session, SessionStatus.ARCHIVED)
            await until_dropped(world, session)
            assert await world.archived(session) == 1
        if running:
            await world.send(DeleteSession(session_id=sessions[0]))
            await until_archived(world, sessions[0], 0)
    if not running:
        await world.send(DeleteSession(session_id=sessions[0]))
        async with world.expiring():
            await until_archived(world, sessions[0], 0)
    assert await world.store.records.get(RecordKind.ARCHIVED, sessions[0]) is None
    assert await world.archived(sessions[1]) == 1


async def test_without_an_archive_a_deleted_sessions_file_waits_for_a_worker_that_has_one(world: World) -> None:
    async with world.expiring(a_rule("silent", ARCHIVE)):
        session = await world.session()
        await world.scheduled(session)
        world.advance(60)
        await until_status(world, session, SessionStatus.ARCHIVED)
        await until_dropped(world, session)
    archive, world.archive = world.archive, None
    async with world.expiring() as worker:
        await world.send(DeleteSession(session_id=session))
        await until_counted(world, worker, archived=1, failed=1)
        assert await world.store.records.get(RecordKind.DEADLINE, session) is not None
    world.archive = archive
    assert await world.archived(session) == 1
    async with world.expiring():
        world.advance(60)
        await until_archived(world, session, 0)


async def test_a_message_begins_a_rule_anew(world: World) -> None:
    async with world.expiring(a_rule("staged", NOTIFY, Step(action=EXPIRE, after=10))) as worker:
        session = await world.session()
        await world.scheduled(session)
        world.advance(60)
        await until_counted(world, worker, notified=1)
        await world.say("I am here")
        await world.until(lambda: _has_messages(world, session, 1))
        world.advance(30)
        while await worker._due.turn():
            pass
        assert (await world.head(session)).is_live
        world.advance(30)
        await until_counted(world, worker, notified=2)
        world.advance(10)
        await until_status(world, session, SessionStatus.EXPIRED)


async def test_the_message_that_makes_enough_is_acted_on_at_once(world: World) -> None:
    async with world.expiring(a_rule("many", max_messages=3)):
        session = await world.session()
        for text in ("one", "two"):
            await world.say(text)
        await world.until(lambda: _has_messages(world, session, 2))
        assert (await world.head(session)).is_live
        await world.say("three")
        await until_status(world, session, SessionStatus.EXPIRED)
        await world.until_steps(1)
        assert world.steps() == [("many", 0, EXPIRE)]


@pytest.mark.parametrize("change", [SetData(values={"done": True}), SetMetadata(values={"done": True})])
async def test_a_condition_on_data_is_looked_at_when_they_change(world: World, change: SetData | SetMetadata) -> None:
    name = f"is-done-by-{change.kind}"
    register_condition(name, lambda head: head.last_activity if (head.data | head.metadata).get("done") else None)
    rule = ExpiryRule(
        rule_id="done",
        strategy=ExpiryStrategy.CUSTOM,
        conditions=Conditions(custom=name),
        actions=(Step(action=EXPIRE),),
    )
    async with world.expiring(rule):
        session = await world.session()
        await world.say("hello")
        await world.until(lambda: _has_messages(world, session, 1))
        await world.send(change.model_copy(update={"session_id": session}))
        await until_status(world, session, SessionStatus.EXPIRED)


async def test_a_sessions_own_deadlines_are_eager_too(world: World) -> None:
    async with world.expiring():
        session = await world.session()
        await world.send(ExtendSession(session_id=session, seconds=5))
        await world.scheduled(session)
        world.advance(5)
        await until_status(world, session, SessionStatus.EXPIRED)
        await until_dropped(world, session)
        reasons = [one.reason for one in world.events if isinstance(one, StateChanged)]
        assert reasons == ["expired"]


async def test_who_was_erased_and_came_back_has_sessions_that_end_as_others_do(world: World) -> None:
    before = await world.session()
    await erase_user(Erasing(world.store, world.archive, Inputs(world.bus), world.clock), "ada")
    async with world.expiring(a_rule("silent", ARCHIVE)):
        session = await world.session()
        assert conversation_of(session) == conversation_of(before)
        await world.scheduled(session)
        world.advance(60)
        await until_status(world, session, SessionStatus.ARCHIVED)
        assert world.steps() == [("silent", 0, ARCHIVE)]


async def test_a_session_that_ended_otherwise_is_left_alone(world: World) -> None:
    async with world.expiring(a_rule("silent", ARCHIVE)):
        session = await world.session()
        await world.scheduled(session)
        await world.send(CloseSession(session_id=session))
        world.advance(60)
        await until_dropped(world, session)
        assert (await world.head(session)).status is SessionStatus.CLOSED
        assert world.steps() == []


async def test_a_suspended_session_still_ends(world: World) -> None:
    async with world.expiring(a_rule("old", max_age=100.0)):
        session = await world.session()
        await world.send(ChangeState(session_id=session, status=SessionStatus.SUSPENDED))
        await world.scheduled(session)
        world.advance(100)
        await until_status(world, session, SessionStatus.EXPIRED)


async def test_without_an_archive_the_session_waits_and_the_failure_is_counted(world: World) -> None:
    world.archive = None
    async with world.expiring(a_rule("silent", ARCHIVE)) as worker:
        session = await world.session()
        await world.scheduled(session)
        world.advance(60)
        await until_counted(world, worker, archived=1, failed=1)
        await world.until(lambda: fails_again(world, worker))
        await until_counted(world, worker, archived=1, failed=1)
        assert (await world.head(session)).status is SessionStatus.EXPIRED


async def fails_again(world: World, worker: ExpiryWorker) -> bool:
    """Let time pass: a failed step is put off when it is counted, or just after."""
    world.advance(120)
    failures: float = worker._due._metrics.expiry_failures._value.get()
    return failures >= 2


async def _has_messages(world: World, session: SessionId, count: int) -> bool:
    return (await world.head(session)).message_count == count


async def _is_stripped(world: World, session: SessionId) -> bool:
    record = await world.store.records.get(RecordKind.DEADLINE, session)
    return record is not None and record.data.get("stripped") is True


async def test_what_the_archive_has_of_a_session_that_was_restored_goes_with_it(world: World) -> None:
    """The file stays there when a session is restored: deleted, it must not be readable there."""
    assert world.archive is not None
    async with world.expiring(a_rule("silent", ARCHIVE)):
        session = await world.session()
        await world.scheduled(session)
        world.advance(60)
        await until_archived(world, session, 1)
        await world.until(lambda: is_stripped_now(world, session))
        await restore_session(world.store, world.archive, Inputs(world.bus), session, clock=world.clock)
        await world.send(DeleteSession(session_id=session))
        await until_archived(world, session, 0)


async def is_stripped_now(world: World, session: SessionId) -> bool:
    """Whether the move to the archive is over."""
    return (await world.head(session)).status is SessionStatus.ARCHIVED and not await world.store.records.get(
        RecordKind.DEADLINE, session
    )


@pytest.mark.parametrize("last", [NOTIFY, SUSPEND])
async def test_a_rule_that_ends_no_session_begins_anew_with_what_happens_after_it(
    world: World, last: CleanupAction
) -> None:
    async with world.expiring(a_rule("silent", last)):
        session = await world.session()
        await world.scheduled(session)
        for taken in (1, 2, 3):
            world.advance(60)
            await world.until_steps(taken)
            await until_dropped(world, session)
            await world.send(SetData(session_id=session, values={"taken": taken}))
            await world.scheduled(session)
        assert world.steps() == [("silent", 0, last)] * 3
