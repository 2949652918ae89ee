"""Inputs that may kill by being read: counted before anybody looks into them, in order, and only those."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from agentbus.contracts.clock import SystemClock
from agentbus.contracts.errors import KilledWorker
from agentbus.contracts.ids import Partition
from agentbus.storage.memory import MemoryStore
from agentbus.storage.memory.members import MemoryMembers
from agentbus.workers.bus.port import Delivery
from agentbus.workers.concurrency import SharedLock
from agentbus.workers.delivery.loop_watch import LoopWatch
from agentbus.workers.delivery.trials import MOST_ALONE, TRIED_FROM
from agentbus.workers.session.holdings import Holding
from agentbus.workers.session.suspects import Suspects
from tests.harness.deliveries import Handed
from tests.harness.patience import PATIENCE

DEADLY = b"deadly"


class Died(BaseException):
    """The end of a process."""


class CountingMembers(MemoryMembers):
    """Notes what is counted, and holds it up if told to."""

    def __init__(self) -> None:
        super().__init__(SystemClock())
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.answers = asyncio.Event()
        self.answers.set()

    async def begin_trial(self, key: str) -> int:
        await self.answers.wait()
        self.begun.append(key)
        return await super().begin_trial(key)

    async def end_trial(self, key: str) -> None:
        self.ended.append(key)
        await super().end_trial(key)


class CountingStore(MemoryStore):
    """A store of which it is known what was counted."""

    def __init__(self) -> None:
        super().__init__()
        self.members: CountingMembers = CountingMembers()


@dataclass
class Process:
    """A worker's process, as far as it reads suspects."""

    store: MemoryStore
    kills: bytes | None = DEADLY
    stalls: bytes | None = None
    read: list[bytes] = field(default_factory=list)
    parked: list[tuple[bytes, Exception]] = field(default_factory=list)
    gap: float = 0.0
    company: SharedLock = field(default_factory=SharedLock)
    holding: Holding = field(default_factory=lambda: Holding(Partition(0), "agentbus.inbound.0", owner=True))

    def __post_init__(self) -> None:
        self.watch = LoopWatch(10, lambda _: self.holding.end_lease(), clock=lambda: self.gap)
        self.suspects = Suspects(self.store, self._read, self._park, self.watch.stalled, self.company)

    def _read(self, _: Holding, delivery: Delivery) -> None:
        if delivery.body == self.kills:
            raise Died
        if delivery.body == self.stalls:
            self.gap += 60
        self.read.append(delivery.body)

    async def _park(self, _: Holding, delivery: Delivery, error: Exception) -> None:
        self.parked.append((delivery.body, error))

    async def over(self) -> bool:
        """Wait until everything was read; return whether it was survived."""
        task = self.suspects._task
        assert task
        async with asyncio.timeout(PATIENCE):
            await asyncio.wait({task})
        return task.exception() is None


@pytest.fixture
async def store() -> AsyncIterator[CountingStore]:
    async with CountingStore() as made:
        yield made


def delivered(*bodies: bytes, attempts: int) -> list[Handed]:
    return [Handed(body, message_id=body.decode(), attempts=attempts) for body in bodies]


async def test_what_kills_whoever_reads_it_is_parked_and_those_beside_it_are_read(store: CountingStore) -> None:
    deaths, attempts = 0, TRIED_FROM
    while True:
        process = Process(store)
        for one in delivered(b"1", DEADLY, b"2", attempts=attempts):
            process.suspects.push(process.holding, one)
        if await process.over():
            break
        deaths, attempts = deaths + 1, attempts + 1
    assert deaths == 1 + MOST_ALONE, "once in company, then alone"
    assert process.read == [b"1", b"2"]
    ((body, error),) = process.parked
    assert body == DEADLY
    assert isinstance(error, KilledWorker)
    assert set(store.members.ended) == {key.split("\x1f")[0] for key in store.members.begun}, "no count is left"
    again = Process(store, kills=None)
    for one in delivered(DEADLY, attempts=TRIED_FROM):
        again.suspects.push(again.holding, one)
    assert await again.over()
    assert again.read == [DEADLY], "replayed after it was mended, it counts from the beginning"


async def test_what_stands_still_for_too_long_counts_like_a_death(store: CountingStore) -> None:
    """It survives, and its partition is another's by then, who would stand still as well."""
    stalls = 0
    while True:
        process = Process(store, kills=None, stalls=b"slow")
        for one in delivered(b"1", b"slow", attempts=TRIED_FROM):
            process.suspects.push(process.holding, one)
        assert await process.over()
        if process.parked:
            break
        stalls += 1
    assert stalls == 1 + MOST_ALONE
    assert [body for body, _ in process.parked] == [b"slow"]
    assert process.read == [b"1"]


async def test_a_stall_before_it_is_read_is_not_its_own(store: CountingStore) -> None:
    process = Process(store, kills=None)
    store.members.answers.clear()
    process.suspects.push(process.holding, *delivered(b"1", attempts=TRIED_FROM))
    await asyncio.sleep(0)
    process.gap += 60
    store.members.answers.set()
    assert await process.over()
    assert process.read == [], "its partition is lost: it comes again"
    assert len(store.members.ended) == len(store.members.begun) == 1


async def test_what_comes_behind_waits_and_is_not_counted(store: CountingStore) -> None:
    process = Process(store)
    store.members.answers.clear()
    for one in (*delivered(b"1", attempts=TRIED_FROM), *delivered(b"2", b"3", attempts=1)):
        process.suspects.push(process.holding, one)
    assert process.suspects.are_before(Partition(0))
    assert not process.suspects.are_before(Partition(1))
    store.members.answers.set()
    assert await process.over()
    assert process.read == [b"1", b"2", b"3"]
    assert len(store.members.begun) == 1
    assert not process.suspects.are_before(Partition(0)), "what comes now is read at once"


async def test_nothing_is_read_while_something_is_tried_alone_in_a_round(store: CountingStore) -> None:
    """Read beside it, a deadly one would be charged to it."""
    process = Process(store)
    async with process.company.exclusive():
        for one in (*delivered(DEADLY, attempts=TRIED_FROM), *delivered(b"1", attempts=1)):
            process.suspects.push(process.holding, one)
        for _ in range(100):
            await asyncio.sleep(0)
        assert process.read == []
        assert process.suspects._task is not None
        assert not process.suspects._task.done()
    assert not await process.over(), "it died of the deadly one"


async def test_what_is_read_alone_waits_until_what_is_carried_out_is_over(store: CountingStore) -> None:
    """Else the death of what is carried out would be charged to it."""
    first = Process(store)
    first.suspects.push(first.holding, *delivered(DEADLY, attempts=TRIED_FROM))
    assert not await first.over()
    process = Process(store, kills=None)
    async with process.company.shared():
        process.suspects.push(process.holding, *delivered(DEADLY, attempts=TRIED_FROM + 1))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not any(key.partition("\x1f")[0].endswith("/alone") for key in store.members.begun)
        assert process.read == []
    assert await process.over()
    assert process.read == [DEADLY]
    assert any(key.partition("\x1f")[0].endswith("/alone") for key in store.members.begun)


async def test_what_is_handed_back_is_read_by_nobody_here(store: CountingStore) -> None:
    process = Process(store)
    store.members.answers.clear()
    process.suspects.push(process.holding, *delivered(b"1", attempts=TRIED_FROM))
    await asyncio.sleep(0)
    process.suspects.push(process.holding, *delivered(b"2", attempts=TRIED_FROM))
    process.holding.end_lease()
    process.suspects.drop()
    store.members.answers.set()
    assert await process.over()
    await process.holding.until_idle()
    assert process.read == []
    assert len(store.members.begun) == 1, "of what waited nothing is begun"
    assert not process.suspects.are_before(Partition(0))


async def test_closing_does_not_wait_for_a_store_that_does_not_answer(store: CountingStore) -> None:
    process = Process(store)
    store.members.answers.clear()
    process.suspects.push(process.holding, *delivered(b"1", attempts=TRIED_FROM))
    await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE):
        await process.suspects.close()
    await process.holding.until_idle()
    assert process.read == []


async def test_a_count_that_fails_in_a_way_nobody_foresaw_stops_nothing(
    store: CountingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(_: str) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(store.members, "begin_trial", fails)
    process = Process(store)
    for one in delivered(b"1", b"2", attempts=TRIED_FROM):
        process.suspects.push(process.holding, one)
    assert await process.over()
    assert process.read == [b"1", b"2"]
