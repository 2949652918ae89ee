"""What reactive workers are built of: handling, the embedded events, doing together, the share, the time loop."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import pytest

import agentbus.workers.reactive.handler
from agentbus.contracts.clock import ManualClock
from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.errors import Reject, StoreUnavailable
from agentbus.contracts.parked import ParkedInput
from agentbus.contracts.topology import Topology
from agentbus.storage.memory import MemoryStore
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.bus.port import Delivery, Message
from agentbus.workers.delivery import retry
from agentbus.workers.delivery.parking import read_parked
from agentbus.workers.delivery.telemetry import WorkerMetrics
from agentbus.workers.delivery.trace_contexts import Traces, using
from agentbus.workers.reactive.batches import TOGETHER, BatchedEvents
from agentbus.workers.reactive.coalescer import Coalescer
from agentbus.workers.reactive.handler import HANDLER_ATTEMPTS, BatchHandler, Handler
from agentbus.workers.reactive.time_loop import Share, TimeLoop
from tests.harness.builders import a_conversation, appended
from tests.harness.patience import PATIENCE


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        agentbus.workers.reactive.handler,
        "FAILING",
        replace(agentbus.workers.reactive.handler.FAILING, longest_wait=0),
    )
    monkeypatch.setattr(retry, "OUTAGES", replace(retry.OUTAGES, longest_wait=0.01))


@pytest.fixture
async def bus() -> AsyncIterator[MemoryBus]:
    async with MemoryBus(Topology(partitions=1)) as bus:
        await bus.declare()
        yield bus


class Failing(Handler):
    """Fails as it is told, then notes what it was given."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0
        self.handled: list[str] = []

    async def handle(self, event: EventEnvelope) -> None:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        self.handled.append(event.id)


async def announce(bus: MemoryBus, number: int, body: bytes | None = None) -> str:
    event = EventEnvelope.of(appended(a_conversation("ada"), number, str(number)))
    message = Message(body=event.to_bytes() if body is None else body, message_id=event.id)
    await bus.publish(bus.topology.events, event.data.routing_key, message, mandatory=False)
    return event.id


async def parked_in(bus: MemoryBus, count: int = 1) -> list[ParkedInput]:
    """Return what was parked, once so many were."""
    found: list[ParkedInput] = []

    def take(delivery: Delivery) -> None:
        found.append(read_parked(delivery, ManualClock()))

    consumer = await bus.consume(bus.topology.parked, take, prefetch=10)
    async with asyncio.timeout(PATIENCE):
        while len(found) < count:
            await asyncio.sleep(0.01)
    await consumer.close()
    return found


async def until_handled(handler: Failing, count: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while len(handler.handled) < count:
            await asyncio.sleep(0.01)


async def test_store_and_broker_are_waited_out_however_long(bus: MemoryBus) -> None:
    handler = Failing(*(StoreUnavailable("down") for _ in range(3 * HANDLER_ATTEMPTS)))
    events = BatchedEvents(bus, "reactive", ("session.#",), handler)
    await events.start()
    event_id = await announce(bus, 1)
    await until_handled(handler, 1)
    assert handler.handled == [event_id]
    await events.close()
    assert (await bus.depth(bus.topology.parked)).ready == 0


async def test_what_keeps_failing_is_parked_and_the_others_go_on(bus: MemoryBus) -> None:
    handler = Failing(*(RuntimeError("a bug") for _ in range(HANDLER_ATTEMPTS)))
    metrics = WorkerMetrics()
    events = BatchedEvents(bus, "reactive", ("session.#",), handler, metrics=metrics)
    await events.start()
    bad = await announce(bus, 1)
    (parked,) = await parked_in(bus)
    assert (parked.code, parked.message_id) == ("handler_failed", bad)
    assert "a bug" in parked.stack
    good = await announce(bus, 2)
    await until_handled(handler, 1)
    assert handler.handled == [good]
    assert metrics.handler_failures._value.get() == 1
    await events.close()
    where = ("rabbitmq", "process", "events")
    assert metrics.consumed.labels(*where)._value.get() == 2
    assert metrics.process_seconds.labels(*where)._sum.get() > 0


async def test_what_cannot_be_helped_is_parked_at_once(bus: MemoryBus) -> None:
    handler = Failing(Reject("it said no"))
    events = BatchedEvents(bus, "reactive", ("session.#",), handler)
    await events.start()
    await announce(bus, 1)
    (parked,) = await parked_in(bus)
    assert (parked.code, parked.reason, handler.calls) == ("reject", "it said no", 1)
    await announce(bus, 2, b"{")
    codes = {parked.code for parked in await parked_in(bus)}
    assert "undecodable" in codes
    await events.close()


class Together(BatchHandler):
    """Notes what it was given together; fails while one of the events is of a session's number that is `bad`."""

    def __init__(self, *errors: Exception, bad: int | None = None) -> None:
        self.errors = list(errors)
        self.bad = bad
        self.batches: list[int] = []
        self.handled: set[str] = set()

    async def handle_all(self, events: Sequence[EventEnvelope]) -> None:
        self.batches.append(len(events))
        if self.errors:
            raise self.errors.pop(0)
        if any(event.data.sequence == self.bad for event in events):
            raise RuntimeError("a bug")
        self.handled |= {event.id for event in events}


async def until_together(handler: Together, wanted: set[str]) -> None:
    async with asyncio.timeout(PATIENCE):
        while handler.handled != wanted:
            await asyncio.sleep(0.01)


async def test_what_has_arrived_is_handled_together(bus: MemoryBus) -> None:
    handler, metrics = Together(StoreUnavailable("down"), StoreUnavailable("down")), WorkerMetrics()
    await bus.declare_subscription("reactive", ("session.#",))
    wanted = {await announce(bus, number) for number in range(1, 2 * TOGETHER)}
    events = BatchedEvents(bus, "reactive", ("session.#",), handler, metrics=metrics)
    await events.start()
    await until_together(handler, wanted)
    assert max(handler.batches) > 1
    assert max(handler.batches) <= TOGETHER
    await events.close()
    assert (await bus.depth(bus.topology.subscription_queue("reactive"))).ready == 0
    assert (await bus.depth(bus.topology.parked)).ready == 0
    assert metrics.consumed.labels("rabbitmq", "process", "events")._value.get() == len(wanted)


async def test_one_that_spoils_what_it_is_handled_with_is_parked_alone(bus: MemoryBus) -> None:
    handler, metrics = Together(bad=3), WorkerMetrics()
    await bus.declare_subscription("reactive", ("session.#",))
    announced = {number: await announce(bus, number) for number in range(1, 6)}
    await announce(bus, 6, b"{")
    events = BatchedEvents(bus, "reactive", ("session.#",), handler, metrics=metrics)
    await events.start()
    parked = {one.message_id: one.code for one in await parked_in(bus, 2)}
    assert parked[announced[3]] == "handler_failed"
    assert "undecodable" in parked.values()
    await until_together(handler, set(announced.values()) - {announced[3]})
    await events.close()
    assert (await bus.depth(bus.topology.subscription_queue("reactive"))).ready == 0
    assert metrics.handler_failures._value.get() == 2


async def test_spans_are_told_of_each_event_that_is_handled_with_others(bus: MemoryBus) -> None:
    told: list[str] = []

    class Telling(Traces):
        on = True

        @contextmanager
        def handling(self, where: str, event: EventEnvelope) -> Iterator[None]:
            assert where == bus.topology.events
            told.append(event.id)
            yield

    with using(Telling()):
        handler = Together()
        events = BatchedEvents(bus, "reactive", ("session.#",), handler)
        await events.start()
        wanted = {await announce(bus, number) for number in range(1, 4)}
        await until_together(handler, wanted)
        await events.close()
    assert sorted(told) == sorted(wanted)


async def test_an_event_that_was_being_handled_comes_again(bus: MemoryBus) -> None:
    class Stuck(Handler):
        entered = asyncio.Event()

        async def handle(self, event: EventEnvelope) -> None:
            assert event.id
            self.entered.set()
            await asyncio.Event().wait()

    stuck = Stuck()
    events = BatchedEvents(bus, "reactive", ("session.#",), stuck)
    await events.start()
    event_id = await announce(bus, 1)
    async with asyncio.timeout(PATIENCE):
        await stuck.entered.wait()
    await events.close()
    handler = Failing()
    again = BatchedEvents(bus, "reactive", ("session.#",), handler)
    await again.start()
    await until_handled(handler, 1)
    assert handler.handled == [event_id]
    await again.close()


async def test_what_is_asked_for_at_once_is_done_together() -> None:
    batches: list[list[int]] = []

    async def work(batch: list[int]) -> None:
        batches.append(batch)
        await asyncio.sleep(0)
        if 13 in batch:
            raise ValueError("13")

    together = Coalescer[int](work, most=4)
    await asyncio.gather(*(together.do(number % 5) for number in range(20)))
    assert sorted(number for batch in batches for number in batch) == [0, 1, 2, 3, 4]
    assert max(map(len, batches)) == 4
    outcomes = await asyncio.gather(together.do(13), together.do(13), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ValueError, ValueError]
    await together.do(1)
    await together.close()


async def test_an_item_asked_for_while_it_is_worked_on_is_done_again() -> None:
    seen: list[int] = []
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def work(batch: list[int]) -> None:
        seen.extend(batch)
        entered.set()
        await go_on.wait()

    together = Coalescer(work, most=4)
    first = asyncio.create_task(together.do(1))
    await entered.wait()
    second = asyncio.create_task(together.do(1))
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(first, second)
    assert seen == [1, 1]


async def test_closing_ends_those_who_wait() -> None:
    async def endless(_: list[int]) -> None:
        await asyncio.Event().wait()

    together = Coalescer[int](endless, most=1)
    waiting = [asyncio.create_task(together.do(number)) for number in range(3)]
    await asyncio.sleep(0.01)
    await together.close()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)


async def test_instances_share_all_partitions_and_take_over() -> None:
    store, clock = MemoryStore(), ManualClock()
    shares = [Share(store, "watch", 16, clock=clock, interval=0.01, ttl=0.2) for _ in range(3)]
    before = shares[0].groups
    assert before == frozenset()
    await shares[0].start()
    assert shares[0].groups is None
    assert shares[0].leads
    for share in shares[1:]:
        await share.start()
    async with asyncio.timeout(PATIENCE):
        while sorted(len(share.partitions) for share in shares) != [5, 5, 6]:
            await asyncio.sleep(0.01)
    assert frozenset[int]().union(*(share.partitions for share in shares)) == frozenset(range(16))
    assert sum(share.leads for share in shares) == 1
    await shares[0].close()
    async with asyncio.timeout(PATIENCE):
        while sum(len(share.partitions) for share in shares[1:]) != 16:
            await asyncio.sleep(0.01)
    for share in shares[1:]:
        await share.close()
    assert not await store.members.live("watch", ttl=60)


async def test_a_loop_ends_though_a_clean_up_fails_in_place_of_its_cancellation() -> None:
    begun = asyncio.Event()

    async def turn() -> bool:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise StoreUnavailable("the lock can't be given back: the store is down")

    loop = TimeLoop("test", turn, interval=0.001)
    await loop.start()
    await begun.wait()
    async with asyncio.timeout(PATIENCE):
        await loop.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_turn_that_fails_is_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentbus.workers.reactive.time_loop._LONGEST_PAUSE", 0.0)
    errors: list[Exception] = [StoreUnavailable("down"), RuntimeError("a bug"), StoreUnavailable("down")]
    turns = asyncio.Queue[int]()

    async def turn() -> bool:
        if errors:
            raise errors.pop(0)
        turns.put_nowait(1)
        return turns.qsize() < 5

    loop = TimeLoop("test", turn, interval=0.001)
    await loop.start()
    async with asyncio.timeout(PATIENCE):
        for _ in range(10):
            await turns.get()
    await loop.close()
    await loop.close()
