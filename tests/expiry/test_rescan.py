"""When rules change all sessions are looked at, once, whoever does it and however often it is interrupted."""

from collections.abc import AsyncIterator

import pytest

from agentbus.contracts.commands import SetData
from agentbus.contracts.expiry import CleanupAction
from agentbus.contracts.history import SessionFilter
from agentbus.contracts.ids import SessionId
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.session import SessionStatus
from agentbus.workers.expiry.rules import ExpiryRules, RuleBook
from agentbus.workers.expiry.watch import rescan
from agentbus.workers.expiry.worker import ExpiryWorker
from tests.expiry.world import World, a_rule, a_world


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(rescan, "PAGE", 7)
    async with a_world() as world:
        yield world


async def all_scheduled(world: World, sessions: list[SessionId]) -> bool:
    world.advance(0.01)  # the other instances have to see the rules first
    records = [await world.store.records.get(RecordKind.DEADLINE, session) for session in sessions]
    return all(records)


async def scanned(world: World) -> bool:
    world.advance(0.01)
    record = await world.store.records.get(RecordKind.FIGURE, "expiry/scan")
    return record is not None and record.data["done"] is True


async def test_sessions_from_before_the_first_start_are_found(world: World) -> None:
    sessions = [await world.session(f"user-{number}") for number in range(30)]
    async with world.expiring(a_rule("silent")):
        await world.until(lambda: all_scheduled(world, sessions))
        world.advance(60)

        async def ended() -> bool:
            heads = await world.store.heads.get_many(sessions)
            return all(head.status is SessionStatus.EXPIRED for head in heads.values())

        await world.until(ended)
        await world.until_steps(30)
    assert len(world.steps()) == 30


async def test_a_change_of_the_rules_is_in_force_for_all_sessions(world: World) -> None:
    async with world.expiring() as worker:
        sessions = [await world.session(f"user-{number}") for number in range(10)]
        await world.until(lambda: scanned(world))
        assert not await world.store.records.get(RecordKind.DEADLINE, sessions[0])
        await worker.rules.add(a_rule("silent"))
        await world.until(lambda: all_scheduled(world, sessions))
        await worker.rules.enable("silent", False)
        await worker.rules.add(a_rule("later", CleanupAction.SUSPEND, idle_for=300.0))
        await world.until(lambda: _moved(world, sessions, 300))
        assert [rule.enabled for rule in await worker.rules.list()] == [True, False]
        assert await worker.rules.remove("silent")
        assert not await worker.rules.remove("silent")
        assert not await worker.rules.enable("silent")


async def _moved(world: World, sessions: list[SessionId], seconds: float) -> bool:
    world.advance(0.01)
    for session in sessions:
        record = await world.store.records.get(RecordKind.DEADLINE, session)
        head = await world.head(session)
        assert record
        assert record.due_at
        assert head.last_activity
        if (record.due_at - head.last_activity).total_seconds() != seconds:
            return False
    return True


async def test_another_instance_goes_on_where_one_stopped(world: World) -> None:
    sessions = [await world.session(f"user-{number}") for number in range(30)]
    first = world.expiry()
    await _prepared(world, first)
    assert await first._rescan.turn()
    assert await first._rescan.turn()
    looked_at = await _looked_at(world)
    assert looked_at == 14
    second = world.expiry()
    await second._book.refresh()
    second._share._watched = first._share._watched
    assert await second._rescan.turn()
    assert await _looked_at(world) == 21
    while await second._rescan.turn():
        pass
    records = [await world.store.records.get(RecordKind.DEADLINE, session) for session in sessions]
    assert all(records)
    assert not await first._rescan.turn()


async def test_sessions_that_are_active_meanwhile_are_not_missed(world: World) -> None:
    sessions = [await world.session(f"user-{number}") for number in range(30)]
    worker = world.expiry()
    await _prepared(world, worker)
    while True:
        # The session that was silent longest, and so stands behind what was looked at, comes to the front.
        page = await world.store.heads.page(SessionFilter(), limit=100)
        world.advance(5)
        if await _looked_at(world) < 30:
            await world.send(SetData(session_id=page.items[-1].session_id, values={"at": str(world.clock.now())}))
        if not await worker._rescan.turn():
            break
    records = [await world.store.records.get(RecordKind.DEADLINE, session) for session in sessions]
    assert all(records)


async def test_rules_that_cannot_be_read_leave_those_before_in_force(world: World) -> None:
    async with world.expiring(a_rule("silent")) as worker:
        record = await world.store.records.get(RecordKind.EXPIRY_RULE, "silent")
        assert record
        await world.store.records.put(record.model_copy(update={"key": "odd", "data": {"from": "a later release"}}))
        await worker._book.refresh()
        assert [rule.rule_id for rule in worker._book.rules] == ["silent"]


async def test_progress_that_a_later_release_wrote_is_begun_anew(world: World) -> None:
    """Its words for how far it is are not ours; looking at all sessions once more costs time alone."""
    sessions = [await world.session(f"user-{number}") for number in range(10)]
    made_by_it = {"fingerprint": "abc", "starts_at": "in a moment", "done": True}
    record = Record(kind=RecordKind.FIGURE, key="expiry/scan", created_at=world.clock.now(), data=made_by_it)
    await world.store.records.put(record)
    async with world.expiring(a_rule("silent")):
        await world.until(lambda: all_scheduled(world, sessions))


async def _prepared(world: World, worker: ExpiryWorker) -> None:
    """Let an instance be the only one, with a rule, and its rescan about to begin."""
    await worker.rules.add(a_rule("silent"))
    await worker._book.refresh()
    worker._share._watched = frozenset(world.bus.topology.all_partitions())
    worker._share._alone = True
    await worker._rescan.turn()
    world.advance(1)


async def _looked_at(world: World) -> int:
    record = await world.store.records.get(RecordKind.FIGURE, "expiry/scan")
    assert record
    looked_at = record.data["looked_at"]
    assert isinstance(looked_at, int)
    return looked_at


async def test_rules_that_were_changed_and_changed_back_between_two_looks_are_looked_at_anew(world: World) -> None:
    """Another instance may have seen what was between, and have left sessions without a deadline."""
    rules = ExpiryRules(world.store, world.clock)
    book = RuleBook(rules)
    await rules.add(a_rule("silent"))
    await book.refresh()
    seen = book.fingerprint
    for change_back in (rules.enable("silent", True), rules.add(a_rule("silent"))):
        world.advance(0.001)
        await rules.enable("silent", False)
        world.advance(0.001)
        await change_back
        await book.refresh()
        assert book.fingerprint != seen
        assert [rule.enabled for rule in book.rules] == [True]
        seen = book.fingerprint
    world.advance(0.001)
    await rules.add(a_rule("silent"))
    await book.refresh()
    assert book.fingerprint == seen, "the same again is no change"
