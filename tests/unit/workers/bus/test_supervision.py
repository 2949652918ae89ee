import asyncio
from functools import partial

import pytest
from structlog.testing import capture_logs

from agentbus.contracts.errors import BrokerUnavailable, Unroutable
from agentbus.contracts.outages import Cause, Outage
from agentbus.contracts.topology import Topology
from agentbus.workers import outages
from agentbus.workers.bus import supervision
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.bus.port import Consumer
from agentbus.workers.bus.supervision import SupervisedConsumer, longest_pause
from tests.contract.bus_suite import SECONDS, Inbox, message, numbers

TOPOLOGY = Topology(prefix="kept", partitions=1)
QUEUE = TOPOLOGY.partition_queue(TOPOLOGY.all_partitions()[0])


class _Consumer(Consumer):
    def __init__(self) -> None:
        self.lost = asyncio.Event()
        self.closed = 0

    async def close(self) -> None:
        self.closed += 1


class _Broker:
    """Gives consumers, after as many failures as told."""

    def __init__(self) -> None:
        self.failures = 0
        self.given: list[_Consumer] = []
        self.gave = asyncio.Event()
        self.failed = asyncio.Event()

    async def consume(self) -> Consumer:
        if self.failures:
            self.failures -= 1
            self.failed.set()
            raise BrokerUnavailable
        self.given.append(_Consumer())
        self.gave.set()
        return self.given[-1]


async def test_it_consumes_again_after_a_loss_and_says_so_before() -> None:
    broker, seen = _Broker(), list[int]()
    kept = SupervisedConsumer(QUEUE, broker.consume, lambda: seen.append(len(broker.given)), first_wait=0.001)
    await kept.start()
    for round_ in range(1, 4):
        broker.failures = round_
        broker.gave.clear()
        broker.given[-1].lost.set()
        async with asyncio.timeout(SECONDS):
            await broker.gave.wait()
    assert seen == [1, 2, 3]
    await kept.close()
    assert [consumer.closed for consumer in broker.given] == [0, 0, 0, 1]


async def test_the_first_failure_is_the_callers() -> None:
    broker = _Broker()
    broker.failures = 1
    kept = SupervisedConsumer(QUEUE, broker.consume, lambda: None)
    with pytest.raises(BrokerUnavailable):
        await kept.start()
    await kept.close()
    assert broker.given == []


async def test_closing_ends_the_waiting() -> None:
    broker = _Broker()
    kept = SupervisedConsumer(QUEUE, broker.consume, lambda: None, first_wait=0.001)
    await kept.start()
    broker.failures = 1_000_000
    broker.failed.clear()
    broker.given[0].lost.set()
    await broker.failed.wait()
    async with asyncio.timeout(SECONDS):
        await kept.close()
        await kept.close()
    assert len(broker.given) == 1


async def test_a_deleted_queue_is_tried_again_until_it_is_there() -> None:
    answers: list[Consumer | Exception] = [_Consumer(), Unroutable(), _Consumer()]
    done = asyncio.Event()

    async def consume() -> Consumer:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if not answers:
            done.set()
        return answer

    first = answers[0]
    assert isinstance(first, _Consumer)
    kept = SupervisedConsumer(QUEUE, consume, lambda: None, first_wait=0.001)
    await kept.start()
    first.lost.set()
    async with asyncio.timeout(SECONDS):
        await done.wait()
    await kept.close()


async def test_with_the_bus_in_the_process() -> None:
    inbox, lost = Inbox(), list[int]()
    async with MemoryBus(TOPOLOGY) as bus:
        await bus.declare()
        kept = SupervisedConsumer(
            QUEUE, partial(bus.consume, QUEUE, inbox, prefetch=2), lambda: lost.append(1), first_wait=0.001
        )
        await kept.start()
        await bus.publish_many(TOPOLOGY.inbound, [("0", message(number)) for number in range(3)])
        await inbox.first(2)
        bus.disconnect()
        deliveries = await inbox.first(4)
        assert numbers(deliveries) == [0, 1, 0, 1]
        assert [delivery.attempts for delivery in deliveries] == [1, 1, 2, 2]
        assert lost == [1]
        await kept.close()
        assert (await bus.depth(QUEUE)).ready == 3


async def test_many_lost_consumers_and_attempts_are_two_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages, "_OUTAGES", {cause: Outage(lambda: 0.0) for cause in Cause})
    brokers = [_Broker() for _ in range(20)]
    kept = [SupervisedConsumer(f"q{n}", one.consume, lambda: None, first_wait=0.001) for n, one in enumerate(brokers)]
    for one in kept:
        await one.start()
    with capture_logs() as lines:
        for broker in brokers:
            broker.failures = 5
            broker.gave.clear()
            broker.given[0].lost.set()
        async with asyncio.timeout(SECONDS):
            for broker in brokers:
                await broker.gave.wait()
        for one in kept:
            await one.close()
    assert [(line["event"], line["cause"]) for line in lines] == [
        ("outage_began", Cause.BROKER),
        ("outage_over", Cause.BROKER),
    ]


async def test_a_consumer_that_is_reopened_on_purpose_is_no_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages, "_OUTAGES", {cause: Outage(lambda: 0.0) for cause in Cause})
    broker = _Broker()
    kept = SupervisedConsumer(QUEUE, broker.consume, lambda: None, first_wait=0.001)
    await kept.start()
    with capture_logs() as lines:
        broker.gave.clear()
        await kept.reopen()
        async with asyncio.timeout(SECONDS):
            await broker.gave.wait()
        await kept.close()
    assert lines == []


def test_pauses_grow_from_the_second_early_death_on_up_to_a_limit() -> None:
    pauses = [longest_pause(young, 0.1) for young in range(1_000)]
    assert pauses[:5] == [0, 0, 0.4, 0.8, 1.6]
    assert pauses == sorted(pauses)
    assert pauses[-1] == 5.0


async def test_a_consumer_that_dies_young_again_is_not_started_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(supervision, "monotonic", lambda: now)
    broker = _Broker()
    kept = SupervisedConsumer(QUEUE, broker.consume, lambda: None, first_wait=5.0)
    await kept.start()

    async def die(after: float) -> None:
        nonlocal now
        broker.gave.clear()
        now += after
        broker.given[-1].lost.set()
        async with asyncio.timeout(SECONDS):
            await broker.gave.wait()
        await asyncio.sleep(0)  # it notes when the new one began

    await die(after=1.0)
    await die(after=60.0)
    await die(after=1.0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await die(after=1.0)
    assert len(broker.given) == 4
    await kept.close()


async def test_an_error_that_nobody_foresaw_does_not_leave_the_queue_alone() -> None:
    broker, answers = _Broker(), [None, RuntimeError("unforeseen"), None]

    async def consume() -> Consumer:
        if error := answers.pop(0):
            raise error
        return await broker.consume()

    kept = SupervisedConsumer(QUEUE, consume, lambda: None, first_wait=0.001)
    await kept.start()
    broker.gave.clear()
    broker.given[0].lost.set()
    async with asyncio.timeout(SECONDS):
        await broker.gave.wait()
    await kept.close()
    assert len(broker.given) == 2
