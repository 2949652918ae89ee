"""When linked sessions are synced, by a clock that the test moves."""

from datetime import timedelta

import pytest

from agentbus.contracts.address import Platform
from agentbus.contracts.records import RecordKind
from agentbus.contracts.sync import ConflictStrategy, SyncMode, SyncOperation, SyncPolicy
from agentbus.storage.reading import iter_parked
from agentbus.workers.sync import exchange
from agentbus.workers.sync.tasks import due_at
from tests.harness.builders import NOON
from tests.sync.world import World


async def carry_out_due(world: World) -> int:
    """Carry out what is due now; return how much that was."""
    due = await world.store.records.due(RecordKind.SYNC_TASK, world.clock.now(), limit=100)
    for task in due:
        await world.sync.tasks.carry_out(task)
    await world.settle()
    return len(due)


def test_a_batch_ends_with_its_interval_and_a_delay_after_the_last_change() -> None:
    batch, delayed = SyncPolicy(mode=SyncMode.BATCH, interval=60), SyncPolicy(mode=SyncMode.DELAYED, delay=5)
    for seconds, end in ((0, 60), (1, 60), (59.999, 60), (60, 120)):
        assert due_at(batch, NOON + timedelta(seconds=seconds)) == NOON + timedelta(seconds=end)
        assert due_at(delayed, NOON + timedelta(seconds=seconds)) == NOON + timedelta(seconds=seconds + 5)


async def test_manual_syncs_when_somebody_asks(world: World) -> None:
    await world.policy(mode=SyncMode.MANUAL)
    first, second, third = await world.people(3)
    await world.write(first, city="Paris")
    await world.settle()
    assert await world.data(second, third) == [{}, {}]
    report = await world.sync.on_demand.sync(first)
    await world.settle()
    assert await world.data(second, third) == [{"city": "Paris"}] * 2
    assert (report.identity, report.fields, report.messages) == ("ann", 1, 0)
    assert {one.session_id for one in report.sessions} == {second, third}
    assert all(one.changed and one.error is None for one in report.sessions)
    again = await world.sync.on_demand.sync(first)
    assert not any(one.changed for one in again.sessions)


async def test_what_a_sync_is_refused_is_said_whichever_of_its_commands_it_is(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too many fields for one command: the first of two is refused, and the second is not given."""
    monkeypatch.setattr(exchange, "MOST_ENTRIES", 2)
    await world.policy(mode=SyncMode.MANUAL)
    first, second = await world.people(2)
    await world.write(first, a="x" * 200_000, b=1, c=2)
    for number in range(5):
        await world.write(second, **{f"full{number}": "x" * 200_000})
    report = await world.sync.on_demand.sync(first)
    (outcome,) = report.sessions
    assert outcome.error is not None
    assert outcome.error.startswith("limit_exceeded")
    assert (outcome.changed, [one async for one in iter_parked(world.store)]) == (False, [])
    await world.write(second, ("full0",))
    (outcome,) = (await world.sync.on_demand.sync(first)).sessions
    assert (outcome.error, (await world.head(second)).data["c"]) == (None, 2)


async def test_a_delayed_sync_waits_until_nothing_has_changed_for_a_while(world: World) -> None:
    await world.policy(mode=SyncMode.DELAYED, delay=5)
    first, second = await world.people(2)
    for number in range(4):
        await world.write(first, city=number)
        await world.settle()
        world.clock.advance(timedelta(seconds=4))
        assert await carry_out_due(world) == 0
    world.clock.advance(timedelta(seconds=1))
    before = world.counts()["context_merged"]
    assert await carry_out_due(world) == 1
    assert await world.data(second) == [{"city": 3}]
    assert world.counts()["context_merged"] - before == 1, "many changes are one merge"
    assert await carry_out_due(world) == 0


async def test_a_repeated_event_does_not_put_off_a_delayed_sync(world: World) -> None:
    await world.policy(mode=SyncMode.DELAYED, delay=5)
    first, second = await world.people(2)
    await world.write(first, city=1)
    await world.quiet()
    earlier = list(world.waiting)
    world.clock.advance(timedelta(seconds=3))
    await world.write(first, city=2)
    await world.settle()
    for event in earlier:
        await world.sync.handler.handle(event)
    world.clock.advance(timedelta(seconds=2))
    assert await carry_out_due(world) == 0, "the later change counts"
    world.clock.advance(timedelta(seconds=3))
    assert await carry_out_due(world) == 1
    assert await world.data(second) == [{"city": 2}]


async def test_a_batch_is_synced_when_its_interval_ends(world: World) -> None:
    await world.policy(mode=SyncMode.BATCH, interval=60)
    first, second = await world.people(2)
    for number in range(3):
        await world.write(first, city=number)
        await world.write(second, name=number)
        await world.settle()
        world.clock.advance(timedelta(seconds=15))
    assert await carry_out_due(world) == 0
    world.clock.advance(timedelta(seconds=15))
    assert await carry_out_due(world) == 2
    assert await world.data(first, second) == [{"city": 2, "name": 2}] * 2


async def test_who_was_overwritten_before_the_batch_ended_comes_to_the_same(world: World) -> None:
    """Slack and the web write over what outranks both, and slack's value reaches the web before that told anybody."""
    await world.policy(
        mode=SyncMode.BATCH, interval=60, strategy=ConflictStrategy.SOURCE_PRIORITY, priority=(Platform.TELEGRAM,)
    )
    telegram, slack, web = sessions = await world.people(3)
    await world.write(telegram, city="Paris")
    await world.settle()
    world.clock.advance(timedelta(seconds=60))
    assert await carry_out_due(world) == 1
    assert await world.data(*sessions) == [{"city": "Paris"}] * 3
    await world.write(web, ["city"])
    await world.write(slack, city="Rome")
    await world.settle()
    world.clock.advance(timedelta(seconds=60))
    due = await world.store.records.due(RecordKind.SYNC_TASK, world.clock.now(), limit=100)
    for task in sorted(due, key=lambda one: one.key != slack):
        await world.sync.tasks.carry_out(task)
        await world.quiet()
    await world.settle()
    assert len(due) == 2
    assert await world.data(*sessions) == [{"city": "Paris"}] * 3


async def test_a_batch_does_not_wait_for_who_never_stops(world: World) -> None:
    """Each change moved the end to that of its own interval: who changed something in each was never synced."""
    await world.policy(mode=SyncMode.BATCH, interval=60)
    first, second = await world.people(2)
    synced = 0
    for number in range(20):
        await world.write(first, city=number)
        await world.settle()
        world.clock.advance(timedelta(seconds=31))
        await world.write(first, name=number)
        await world.settle()
        synced += await carry_out_due(world)
    assert synced >= 9, "once in each minute of ten"
    assert (await world.data(second))[0]["city"] >= 17


async def test_what_changes_while_a_task_is_carried_out_is_not_lost(world: World) -> None:
    await world.policy(mode=SyncMode.DELAYED, delay=5)
    first, second = await world.people(2)
    await world.write(first, city=1)
    await world.settle()
    world.clock.advance(timedelta(seconds=5))
    (task,) = await world.store.records.due(RecordKind.SYNC_TASK, world.clock.now(), limit=10)
    await world.write(first, city=2)
    await world.settle()
    await world.sync.tasks.carry_out(task)
    await world.settle()
    world.clock.advance(timedelta(seconds=5))
    assert await carry_out_due(world) == 1
    assert await world.data(second) == [{"city": 2}]


async def test_a_task_carried_out_twice_changes_nothing_more(world: World) -> None:
    await world.policy(mode=SyncMode.DELAYED, history=True)
    first, second = await world.people(2)
    await world.write(first, city=1)
    await world.talk(text="once")
    await world.settle()
    world.clock.advance(timedelta(seconds=10))
    (task,) = await world.store.records.due(RecordKind.SYNC_TASK, world.clock.now(), limit=10)
    for _ in range(3):
        world.restarted()
        await world.sync.tasks.carry_out(task)
        await world.settle()
    assert (await world.texts(second)).count("once") == 1
    assert await world.data(second) == [{"city": 1}]


async def test_a_task_of_a_session_that_was_unlinked_is_dropped(world: World) -> None:
    await world.policy(mode=SyncMode.DELAYED)
    first, second = await world.people(2)
    await world.write(first, city=1)
    await world.settle()
    await world.sync.identities.unlink(first)
    world.clock.advance(timedelta(seconds=10))
    assert await carry_out_due(world) == 1
    assert await carry_out_due(world) == 0
    assert await world.data(second) == [{}]


async def test_a_delayed_sync_is_off_once_the_mode_is_manual(world: World) -> None:
    await world.policy(mode=SyncMode.DELAYED)
    first, second = await world.people(2)
    await world.write(first, city=1)
    await world.settle()
    await world.policy(mode=SyncMode.MANUAL)
    world.clock.advance(timedelta(seconds=10))
    await carry_out_due(world)
    assert await world.data(second) == [{}]


@pytest.mark.parametrize("mode", [SyncMode.DELAYED, SyncMode.BATCH, SyncMode.MANUAL])
async def test_messages_are_copied_once_with_the_context(world: World, mode: SyncMode) -> None:
    await world.policy(mode=mode, history=True, interval=60)
    first, second = await world.people(2)
    texts: list[str] = []
    for number in range(3):
        texts.append(f"message {number}")
        await world.talk(text=texts[-1])
        await world.settle()
        assert texts[-1] not in await world.texts(second)
        world.clock.advance(timedelta(seconds=60))
        await carry_out_due(world)
        if mode is SyncMode.MANUAL:
            await world.sync.on_demand.sync(first)
            await world.quiet()
        assert [text for text in await world.texts(second) if text in texts] == texts


async def test_a_writer_who_saw_the_value_is_in_no_conflict_with_it_in_any_mode(world: World) -> None:
    await world.policy(mode=SyncMode.DELAYED, strategy=ConflictStrategy.MANUAL)
    first, second = await world.people(2)
    for session, city in ((first, "Paris"), (second, "Rome"), (first, "Oslo"), (first, "Bern")):
        await world.write(session, city=city)
        await world.settle()
        if city != "Oslo":
            world.clock.advance(timedelta(seconds=10))
            await carry_out_due(world)
    assert await world.data(first, second) == [{"city": "Bern"}] * 2
    assert world.counts()["conflict_opened"] == 0


async def test_operations_that_are_not_allowed_are_left_out(world: World) -> None:
    await world.policy(operations={SyncOperation.CREATE})
    first, second = await world.people(2)
    await world.write(first, city="Paris", name="Ann")
    await world.settle()
    await world.write(first, ["name"], city="Rome", lang="fr")
    await world.settle()
    assert await world.data(second) == [{"city": "Paris", "name": "Ann", "lang": "fr"}]
