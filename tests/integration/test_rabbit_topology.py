from collections.abc import AsyncIterator

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel

from agentbus.contracts.errors import TopologyMismatch
from agentbus.contracts.topology import Topology
from agentbus.workers.bus.rabbit import RabbitBus

TOPOLOGY = Topology(prefix="declared", partitions=2)


@pytest.fixture
async def channel(amqp_url: str) -> AsyncIterator[AbstractChannel]:
    async with await aio_pika.connect(amqp_url) as connection:
        yield await connection.channel()


async def test_another_argument_of_a_queue_is_named(amqp_url: str) -> None:
    async with RabbitBus(amqp_url, TOPOLOGY) as bus:
        await bus.declare()
    other = TOPOLOGY.model_copy(update={"delivery_limit": 7})
    async with RabbitBus(amqp_url, other) as bus:
        with pytest.raises(TopologyMismatch, match="x-delivery-limit: 1000 on the broker, 7 here; drain") as caught:
            await bus.declare()
        assert caught.value.details["kind"] == "queue"
        assert caught.value.details["argument"] == "x-delivery-limit"
        # The failure took only the channel that it happened on.
        assert (await bus.depth(other.parked)).ready == 0


@pytest.mark.parametrize("argument", ["x-single-active-consumer", "x-dead-letter-exchange", "x-overflow"])
async def test_each_ordering_argument_is_compared(amqp_url: str, channel: AbstractChannel, argument: str) -> None:
    queue = TOPOLOGY.queues()[-1]
    kept = {name: value for name, value in queue.arguments.items() if name != argument}
    await channel.declare_queue(queue.name, durable=True, arguments=dict(kept))
    async with RabbitBus(amqp_url, TOPOLOGY) as bus:
        with pytest.raises(TopologyMismatch, match=rf"queue '{queue.name}' exists with another {argument}"):
            await bus.declare()


async def test_another_type_of_an_exchange_is_named(amqp_url: str, channel: AbstractChannel) -> None:
    await channel.declare_exchange(TOPOLOGY.events, "direct", durable=True)
    async with RabbitBus(amqp_url, TOPOLOGY) as bus:
        with pytest.raises(TopologyMismatch, match=r"exchange 'declared.events' .* type: direct on the broker, topic"):
            await bus.declare()


async def test_it_can_be_declared_once_the_cause_is_gone(amqp_url: str, channel: AbstractChannel) -> None:
    await channel.declare_queue(TOPOLOGY.ingress, durable=True)
    async with RabbitBus(amqp_url, TOPOLOGY) as bus:
        with pytest.raises(TopologyMismatch):
            await bus.declare()
        await channel.queue_delete(TOPOLOGY.ingress)
        await bus.declare()


async def test_all_partitions_get_their_queue(amqp_url: str) -> None:
    many = Topology(prefix="many", partitions=64)
    async with RabbitBus(amqp_url, many) as bus:
        await bus.declare()
        for partition in many.all_partitions()[::9]:
            assert (await bus.depth(many.partition_queue(partition))).ready == 0


async def test_refusals_on_all_channels_at_once_leave_the_connection(amqp_url: str) -> None:
    """Each of the four channels that declare side by side is closed by the broker, again and again."""
    many = Topology(prefix="refused", partitions=16)
    async with RabbitBus(amqp_url, many) as bus:
        await bus.declare()
    reconnected: list[None] = []
    async with RabbitBus(amqp_url, many.model_copy(update={"delivery_limit": 7})) as bus:
        bus.on_reconnect = lambda: reconnected.append(None)
        for _ in range(20):
            with pytest.raises(TopologyMismatch):
                await bus.declare()
            assert (await bus.depth(many.parked)).ready == 0
    assert reconnected == []
