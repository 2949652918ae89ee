"""Properties that RabbitMQ passes on and no library would write: none costs a connection or a message."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.topology import Topology
from agentbus.workers.bus.port import Delivery
from agentbus.workers.bus.rabbit import RabbitBus
from agentbus.workers.bus.rabbit.connections import Link
from agentbus.workers.reactive.app import ReactiveApp
from agentbus.workers.reactive.handler import Handler
from tests.attack.crafted.properties import ODD
from tests.harness.builders import a_conversation, appended
from tests.harness.patience import PATIENCE
from tests.harness.raw_amqp import publish_raw

TOPOLOGY = Topology(prefix="odd", partitions=1)
QUEUE = TOPOLOGY.partition_queue(TOPOLOGY.all_partitions()[0])


@pytest.fixture
async def bus(amqp_url: str) -> AsyncIterator[RabbitBus]:
    async with RabbitBus(amqp_url, TOPOLOGY) as bus:
        await bus.declare()
        yield bus


async def test_every_message_is_delivered_once_on_one_connection(bus: RabbitBus, attacker: Link) -> None:
    arrived: asyncio.Queue[Delivery] = asyncio.Queue()
    consumer = await bus.consume(QUEUE, arrived.put_nowait, prefetch=100)
    channel = await attacker.channel()
    for name, properties in ODD.items():
        await publish_raw(channel, TOPOLOGY.inbound, b"0", name.encode(), properties)
    async with asyncio.timeout(PATIENCE):
        got = [await arrived.get() for _ in ODD]
    assert [delivery.body.decode() for delivery in got] == list(ODD), "in their order, each with its own body"
    assert {delivery.attempts for delivery in got} == {1}
    assert not consumer.lost.is_set()
    for delivery in got:
        await delivery.ack()
    await consumer.close()
    assert (await bus.depth(QUEUE)).ready == 0


async def test_a_routing_key_that_is_not_text_reaches_who_wants_all(bus: RabbitBus, attacker: Link) -> None:
    arrived: asyncio.Queue[Delivery] = asyncio.Queue()
    consumer = await bus.subscribe(("#",), arrived.put_nowait)
    channel = await attacker.channel()
    await publish_raw(channel, TOPOLOGY.events, b"\xff\xfe.x", b"odd", {})
    await publish_raw(channel, TOPOLOGY.events, b"plain", b"plain", {})
    async with asyncio.timeout(PATIENCE):
        assert [(await arrived.get()).body for _ in range(2)] == [b"odd", b"plain"]
    assert not consumer.lost.is_set()
    await consumer.close()


async def test_a_callback_that_fails_has_the_delivery_parked(bus: RabbitBus, attacker: Link) -> None:
    async def dead_lettered(count: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while (await bus.depth(TOPOLOGY.parked)).ready < count:
                await asyncio.sleep(0.02)

    taken: list[bytes] = []

    def take(delivery: Delivery) -> None:
        if delivery.body.startswith(b"bad"):
            raise ZeroDivisionError(delivery.body)
        taken.append(delivery.body)

    with capture_logs() as said:
        consumer = await bus.consume(QUEUE, take, prefetch=2)
        channel = await attacker.channel()
        for number in range(5):
            await publish_raw(channel, TOPOLOGY.inbound, b"0", b"bad%d" % number, {})
        await publish_raw(channel, TOPOLOGY.inbound, b"0", b"good", {})
        await dead_lettered(5)
        async with asyncio.timeout(PATIENCE):
            while not taken:
                await asyncio.sleep(0.02)
    assert taken == [b"good"], "five that fail at a prefetch of two would stop the queue"
    assert [line["event"] for line in said] == ["delivery_refused"] * 5
    assert not consumer.lost.is_set()
    await consumer.close()


async def test_at_the_end_of_the_road_a_failing_callback_loses_nothing(bus: RabbitBus, attacker: Link) -> None:
    tries: list[int] = []
    done = asyncio.Event()

    def take(delivery: Delivery) -> None:
        tries.append(delivery.attempts)
        if len(tries) < 3:
            raise ZeroDivisionError
        done.set()

    with capture_logs():
        consumer = await bus.consume(TOPOLOGY.parked, take, prefetch=2)
        await publish_raw(await attacker.channel(), TOPOLOGY.parked, b"", b"parked", {})
        await asyncio.wait_for(done.wait(), PATIENCE)
    assert tries == [1, 2, 3]
    await consumer.close()


class Noting(Handler):
    def __init__(self) -> None:
        self.handled: list[str] = []

    async def handle(self, event: EventEnvelope) -> None:
        self.handled.append(event.id)


async def test_a_reactive_worker_handles_them_all(amqp_url: str, bus: RabbitBus, attacker: Link) -> None:
    handler = Noting()
    app = ReactiveApp(amqp_url, bus, "odd", ("session.message.*",), handler, prefetch=5, heartbeat=5)
    await app.start()
    channel, sent = await attacker.channel(), []
    for number, properties in enumerate(ODD.values(), start=1):
        event = EventEnvelope.of(appended(a_conversation("ada"), number, str(number)))
        await publish_raw(channel, TOPOLOGY.events, event.data.routing_key.encode(), event.to_bytes(), properties)
        sent.append(event.id)
    async with asyncio.timeout(PATIENCE):
        while len(handler.handled) < len(sent):
            await asyncio.sleep(0.02)
    await app.close()
    assert sorted(handler.handled) == sorted(sent)
    assert (await bus.depth(TOPOLOGY.subscription_queue("odd"))).ready == 0
