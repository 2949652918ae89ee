"""Statistics: each step once however often its event comes, over restarts and over days."""

import random
from datetime import timedelta

import pytest

from agentbus.contracts.clock import ManualClock
from agentbus.contracts.events import ExpiryStepTaken
from agentbus.contracts.expiry import CleanupAction
from agentbus.contracts.ids import InputId, session_id_for
from agentbus.contracts.records import RecordKind
from agentbus.storage.memory import MemoryStore
from agentbus.workers.expiry.statistics import ExpiryStatistics, StatisticsRecorder
from tests.harness.builders import a_conversation


def a_step(
    clock: ManualClock, number: int, action: CleanupAction = CleanupAction.EXPIRE, *, step: int = 0
) -> ExpiryStepTaken:
    return ExpiryStepTaken(
        session_id=session_id_for(a_conversation(f"counted-{number}"), 1),
        sequence=4,
        at=clock.now(),
        cause=InputId("cause"),
        rule_id="even" if number % 2 == 0 else "odd",
        step=step,
        action=action,
    )


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


async def test_repeats_are_not_counted(store: MemoryStore, clock: ManualClock) -> None:
    figures = StatisticsRecorder(store, clock)
    await figures.start()
    events = [a_step(clock, number) for number in range(20)] * 3
    random.shuffle(events)
    for event in events:
        await figures.steps([event])
    await figures.steps([a_step(clock, 100, CleanupAction.NOTIFY, step=-1)])
    for _ in range(3):
        await figures.failure(session_id_for(a_conversation("bad"), 1), 7, "odd")
    expected = ExpiryStatistics(
        {"even": {"expired": 10, "warned": 1}, "odd": {"expired": 10, "failed": 1}},
        {"expired": 20, "warned": 1, "failed": 1},
    )
    assert await figures.statistics() == expected
    later = StatisticsRecorder(store, clock)
    await later.start()
    assert await later.statistics() == expected


async def test_past_days_are_added_up_and_stay_counted_once(store: MemoryStore, clock: ManualClock) -> None:
    figures = StatisticsRecorder(store, clock)
    await figures.start()
    events = []
    for day in range(6):
        for number in range(day + 1):
            events.append(a_step(clock, 10 * day + number))
            await figures.steps([events[-1]])
        await figures.fold()
        await figures.fold()
        clock.advance(timedelta(days=1))
    assert (await figures.statistics()).total == {"expired": 21}
    for event in events:  # all come again, those of days that are added up too
        await figures.steps([event])
    assert (await figures.statistics()).total == {"expired": 21}
    await figures.fold()
    assert (await StatisticsRecorder(store, clock).statistics()).total == {"expired": 21}
    kept = [record for kind, _ in store.records._records if kind is RecordKind.FIGURE for record in [kind]]
    assert len(kept) < 21


async def test_a_crash_between_adding_up_and_deleting_changes_nothing(
    store: MemoryStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = StatisticsRecorder(store, clock)
    await figures.start()
    for number in range(5):
        await figures.steps([a_step(clock, number)])
    clock.advance(timedelta(days=4))

    async def crash(*_: object) -> int:
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(store.records, "delete_group", crash)
        with pytest.raises(RuntimeError):
            await figures.fold()
    after = StatisticsRecorder(store, clock)
    assert (await after.statistics()).total == {"expired": 5}
    await after.fold()
    assert (await after.statistics()).total == {"expired": 5}


async def test_two_that_add_up_at_once_do_it_once(store: MemoryStore, clock: ManualClock) -> None:
    figures = StatisticsRecorder(store, clock)
    await figures.start()
    await figures.steps([a_step(clock, 1)])
    clock.advance(timedelta(days=3))
    lock = await store.locks.acquire("expiry/fold", ttl=60)
    assert lock
    await figures.fold()
    record = await store.records.get(RecordKind.FIGURE, "expiry/totals")
    assert record
    assert record.data["counts"] == {}
    await store.locks.release(lock.name, lock.token)
    await figures.fold()
    assert (await figures.statistics()).total == {"expired": 1}
