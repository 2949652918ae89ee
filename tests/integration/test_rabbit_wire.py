"""Frames that are taken off the wire, beside those that aiormq handles, on a real broker."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from agentbus.contracts.topology import Topology
from agentbus.workers.bus.port import Message
from agentbus.workers.bus.rabbit import RabbitBus, in_hand
from agentbus.workers.bus.rabbit.connections import wire_of
from agentbus.workers.bus.rabbit.consumers import RabbitConsumer
from tests.contract.bus_suite import SECONDS, Inbox, declared, failing_at_first, message, numbers

TOPOLOGY = Topology(prefix="wire", partitions=2)
QUEUES = [TOPOLOGY.partition_queue(partition) for partition in TOPOLOGY.all_partitions()]
_NEVER_DELIVERED = 10**6


@pytest.fixture
async def bus(amqp_url: str) -> AsyncIterator[RabbitBus]:
    async with RabbitBus(amqp_url, TOPOLOGY) as opened:
        await declared(opened)
        yield opened


async def test_a_channel_that_the_broker_closes_is_lost_and_no_other(bus: RabbitBus) -> None:
    first, second = Inbox(), Inbox()
    closed = await bus.consume(QUEUES[0], first, prefetch=10)
    kept = await bus.consume(QUEUES[1], second, prefetch=10)
    assert isinstance(closed, RabbitConsumer)
    await bus.publish(TOPOLOGY.inbound, "0", message(1))
    (held,) = await first.first(1)
    closed.ack(_NEVER_DELIVERED, 0)
    async with asyncio.timeout(SECONDS):
        await closed.lost.wait()
    await held.ack()  # its consumer is gone: nothing may be written for it
    await bus.publish(TOPOLOGY.inbound, "1", message(2))
    await (await second.first(1))[0].ack()
    again = await bus.consume(QUEUES[0], first, prefetch=10)
    (_, repeated) = await first.first(2)
    assert (repeated.body, repeated.attempts) == (held.body, 2)
    await repeated.ack()
    await again.close()
    await kept.close()
    assert not kept.lost.is_set()
    assert (await bus.depth(QUEUES[0])).ready == (await bus.depth(QUEUES[1])).ready == 0


async def test_bodies_of_many_frames_come_whole_beside_small_ones(bus: RabbitBus) -> None:
    inboxes = [Inbox(), Inbox()]
    for queue, inbox in zip(QUEUES, inboxes, strict=True):
        await bus.consume(queue, inbox, prefetch=50)
    large = bytes(range(256)) * 4_000
    many = [(str(number % 2), Message(body=large[: number * 40_001], message_id=f"m-{number}")) for number in range(20)]
    assert await bus.publish_many(TOPOLOGY.inbound, many) == [None] * 20
    for parity, inbox in enumerate(inboxes):
        found = await inbox.first(10)
        assert [one.body for one in found] == [sent.body for _, sent in many[parity::2]]
        for one in found:
            await one.ack()


async def test_many_thousand_deliveries_and_confirms_at_once_are_in_order(bus: RabbitBus) -> None:
    inbox = Inbox()
    await bus.consume(QUEUES[0], inbox, prefetch=5_000)
    outcomes = await asyncio.gather(
        *(
            bus.publish_many(TOPOLOGY.inbound, [("0", message(first + one)) for one in range(50)])
            for first in range(0, 3000, 50)
        )
    )
    assert all(outcome is None for call in outcomes for outcome in call)
    found = await inbox.first(3000)
    assert sorted(numbers(found)) == list(range(3000))
    for first in range(0, 3000, 50):
        mine = [number for number in numbers(found) if first <= number < first + 50]
        assert mine == list(range(first, first + 50)), "each call's messages are in its order"
    for one in reversed(found):
        await one.ack()
    async with asyncio.timeout(SECONDS):
        while (await bus.depth(QUEUES[0])).ready:
            await asyncio.sleep(0.01)


async def test_no_more_bytes_are_in_hand_than_fit_and_each_input_comes_in_order(
    bus: RabbitBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker would send all 60 MB at once: the prefetch allows it."""
    most, a_read, body = 4_000_000, 2_000_000, b"x" * 300_000
    monkeypatch.setattr(in_hand, "MOST_BYTES", most)
    sent = [(str(number % 2), Message(body=body, message_id=f"m-{number}")) for number in range(200)]
    inboxes, held = [Inbox(), Inbox()], list[int]()
    consumers = [await bus.consume(queue, inbox, prefetch=100) for queue, inbox in zip(QUEUES, inboxes, strict=True)]
    publishing = asyncio.create_task(bus.publish_many(TOPOLOGY.inbound, sent))
    assert isinstance(consumers[0], RabbitConsumer)
    hand = wire_of(consumers[0]._channel).in_hand
    taken = [0, 0]
    async with asyncio.timeout(SECONDS):
        while sum(taken) < 200:
            await asyncio.sleep(0.02)
            held.append(hand.bytes)
            for which, inbox in enumerate(inboxes):
                for one in inbox.deliveries[taken[which] : taken[which] + 2]:  # slower than the broker
                    taken[which] += 1
                    await one.ack()
    assert await publishing == [None] * 200
    assert most < max(held) < most + a_read
    for parity, inbox in enumerate(inboxes):
        assert [one.message_id for one in inbox.deliveries] == [f"m-{number}" for number in range(parity, 200, 2)]
    assert hand.bytes == 0


async def test_while_nothing_can_be_settled_the_connection_lives_and_a_consumer_that_ends_frees_what_it_had(
    bus: RabbitBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_hand, "MOST_BYTES", 1_000_000)
    monkeypatch.setattr(in_hand, "A_LITTLE_EACH", 0.2)
    sent = [("0", Message(body=b"x" * 200_000, message_id=f"m-{number}")) for number in range(60)]
    assert await bus.publish_many(TOPOLOGY.inbound, sent) == [None] * 60
    stuck, other = Inbox(), Inbox()
    holder = await bus.consume(QUEUES[0], stuck, prefetch=100)
    assert isinstance(holder, RabbitConsumer)
    hand = wire_of(holder._channel).in_hand
    before = len(await stuck.first(6))
    async with asyncio.timeout(SECONDS):
        while len(stuck.deliveries) < before + 3:  # a little comes all the same: heartbeats are in it
            await asyncio.sleep(0.05)
    assert len(stuck.deliveries) < 40
    await holder.close()
    assert hand.bytes == 0
    await bus.publish(TOPOLOGY.inbound, "1", message(1))
    await bus.consume(QUEUES[1], other, prefetch=10)
    await (await other.first(1))[0].ack()
    assert not holder.lost.is_set()


async def test_whatever_becomes_of_a_delivery_its_bytes_are_in_hand_no_more(bus: RabbitBus) -> None:
    """One that stayed counted would, with its like, stop the reading for good."""
    inbox = Inbox()
    consumer = await bus.consume(QUEUES[0], failing_at_first(2, inbox), prefetch=10)
    assert isinstance(consumer, RabbitConsumer)
    hand = wire_of(consumer._channel).in_hand
    assert await bus.publish_many(TOPOLOGY.inbound, [("0", message(number)) for number in range(6)]) == [None] * 6
    kept = await inbox.first(4)  # the broker dead-letters the other two
    assert hand.bytes == sum(len(one.body) for one in kept)
    await kept[0].ack()
    await kept[0].ack()  # settled already
    await kept[1].requeue()
    await inbox.first(5)
    assert hand.bytes == sum(len(one.body) for one in (*kept[2:], inbox.deliveries[4]))
    await bus.delete_queue(QUEUES[0])
    async with asyncio.timeout(SECONDS):
        await consumer.lost.wait()
    await kept[2].ack()
    assert hand.bytes == 0
