"""The broker fails: what was confirmed is kept, who publishes and who consumes find their way back.

Tests that look at what one keeps that was killed, or that starve it, have a broker of their own. For the others the way
to the run's broker goes: connections are reset or stand still, as they do when it is killed or frozen. Starting one
takes 3 s of a processor.
"""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from urllib.parse import urlsplit

import aio_pika
import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from agentbus.contracts.errors import BrokerBlocked, BrokerUnavailable, BusError, PublishUnconfirmed, ReplyTimeout
from agentbus.contracts.telemetry import Action
from agentbus.contracts.topology import Topology
from agentbus.workers.bus.port import Delivery
from agentbus.workers.bus.rabbit import RabbitBus
from agentbus.workers.bus.rabbit.outbox import NOT_SENT
from agentbus.workers.bus.supervision import SupervisedConsumer
from tests.chaos.system.proxy import Proxy
from tests.contract.bus_suite import SECONDS, Inbox, declared, eventually, message, numbers
from tests.harness.patience import PATIENCE
from tests.harness.system.backends import Address
from tests.services import LOOPBACK, RabbitMQ, free_port
from tests.services.local import START_SECONDS

TOPOLOGY = Topology(prefix="faults", partitions=1)
QUEUE = TOPOLOGY.partition_queue(TOPOLOGY.all_partitions()[0])
UNTIL_BACK = START_SECONDS + PATIENCE
"""Seconds within which a broker that is started meanwhile is there, however busy the cores are."""


@pytest.fixture
def there(amqp_url: str) -> Address:
    parts = urlsplit(amqp_url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


@pytest.fixture
async def way(there: Address) -> AsyncIterator[Proxy]:
    async with Proxy(there) as proxy:
        yield proxy


@pytest.fixture
async def bus(amqp_url: str, way: Proxy) -> AsyncIterator[RabbitBus]:
    async with RabbitBus(by(way.port, amqp_url), TOPOLOGY, publish_timeout=2, heartbeat=5) as opened:
        await declared(opened)
        yield opened


@pytest.fixture
async def mortal_bus(mortal_amqp_url: str, mortal_rabbitmq: RabbitMQ) -> AsyncIterator[RabbitBus]:
    async with RabbitBus(mortal_amqp_url, TOPOLOGY, publish_timeout=2, heartbeat=5) as opened:
        await declared(opened)
        await asyncio.to_thread(mortal_rabbitmq.sync)  # a broker that is killed comes back with what was declared
        yield opened


def by(port: int, url: str) -> str:
    """Write the URL of a broker that is reached by another port."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{parts.netloc.rpartition('@')[0]}@{LOOPBACK}:{port}").geturl()


def gone(way: Proxy) -> None:
    """Reset all connections and let no new one through, as a broker does that is killed."""
    way.targets = ()
    way.cut()


async def publish_until_confirmed(bus: RabbitBus, number: int) -> None:
    async with asyncio.timeout(UNTIL_BACK):
        while True:
            try:
                await bus.publish(TOPOLOGY.inbound, "0", message(number))
            except (PublishUnconfirmed, BrokerUnavailable):
                await asyncio.sleep(0.05)
            else:
                return


async def test_a_broker_killed_and_restarted_loses_nothing_confirmed(
    mortal_bus: RabbitBus, mortal_rabbitmq: RabbitMQ
) -> None:
    bus, broker = mortal_bus, mortal_rabbitmq
    total, handled, losses = 300, list[int](), list[str]()
    waiting = asyncio.Queue[Delivery]()

    def on_lost() -> None:
        losses.append(QUEUE)
        while not waiting.empty():
            waiting.get_nowait()

    async def work() -> None:
        while len(set(handled)) < total:
            delivery = await waiting.get()
            handled.append(int(delivery.body))
            await delivery.ack()

    async def publish() -> None:
        for number in range(total):
            await publish_until_confirmed(bus, number)

    kept = SupervisedConsumer(QUEUE, partial(bus.consume, QUEUE, waiting.put_nowait, prefetch=10), on_lost)
    await kept.start()
    publishing, working = asyncio.create_task(publish()), asyncio.create_task(work())
    await eventually(lambda: _at_least(handled, 50))
    await asyncio.to_thread(broker.kill)
    await asyncio.to_thread(broker.start)
    async with asyncio.timeout(UNTIL_BACK):
        await asyncio.gather(publishing, working)
    await kept.close()
    assert losses == [QUEUE]
    assert list(dict.fromkeys(handled)) == list(range(total))  # the first time each was handled, in order


async def test_publishing_many_while_the_broker_dies_says_which_are_unknown(
    mortal_bus: RabbitBus, mortal_rabbitmq: RabbitMQ
) -> None:
    bus, broker = mortal_bus, mortal_rabbitmq
    inbox = Inbox()
    many = [("0", message(number)) for number in range(30_000)]
    publishing = asyncio.create_task(bus.publish_many(TOPOLOGY.inbound, many))
    await eventually(lambda: _has_more(bus, 500))
    await asyncio.to_thread(broker.kill)
    outcomes = await publishing
    assert len(outcomes) == len(many)
    confirmed = [number for number, outcome in enumerate(outcomes) if outcome is None]
    failed = [outcome for outcome in outcomes if outcome is not None]
    assert failed
    assert all(isinstance(outcome, PublishUnconfirmed | BrokerUnavailable) for outcome in failed)
    await asyncio.to_thread(broker.start)
    await eventually(lambda: _succeeds(bus))
    consumer = await bus.consume(QUEUE, inbox, prefetch=60_000)
    await inbox.first(len(confirmed))
    await eventually(lambda: _contains(inbox, set(confirmed)))
    await consumer.close()


async def test_publishing_without_a_broker_fails_in_time_and_recovers(
    bus: RabbitBus, way: Proxy, there: Address
) -> None:
    gone(way)
    began = asyncio.get_running_loop().time()
    results = await asyncio.gather(
        *(bus.publish(TOPOLOGY.inbound, "0", message(number)) for number in range(5)), return_exceptions=True
    )
    assert all(isinstance(result, BusError) for result in results)
    with pytest.raises(BrokerUnavailable):
        await bus.consume(QUEUE, Inbox(), prefetch=1)
    assert asyncio.get_running_loop().time() - began < PATIENCE
    way.targets = (there,)
    await publish_until_confirmed(bus, 9)


async def test_a_request_ends_when_the_connection_goes(bus: RabbitBus, way: Proxy) -> None:
    inbox = Inbox()
    await bus.consume(QUEUE, inbox, prefetch=1)
    asking = asyncio.create_task(bus.request(TOPOLOGY.inbound, "0", message(1), timeout=60))
    await inbox.first(1)
    gone(way)
    async with asyncio.timeout(SECONDS):
        with pytest.raises((ReplyTimeout, PublishUnconfirmed)):
            await asking


async def test_start_waits_for_a_broker_that_starts_later(amqp_url: str, there: Address) -> None:
    port = free_port()
    bus = RabbitBus(by(port, amqp_url), TOPOLOGY, connect_timeout=PATIENCE)
    with capture_logs() as logs:
        waiting = asyncio.create_task(bus.start())
        await eventually(lambda: _is_waited_for(logs))
        assert not waiting.done()
        async with Proxy(there, port=port):
            await waiting
            await declared(bus)
            await bus.close()


async def test_a_deleted_queue_ends_its_consumer(bus: RabbitBus, amqp_url: str) -> None:
    inbox = Inbox()
    consumer = await bus.consume(QUEUE, inbox, prefetch=10)
    await bus.publish(TOPOLOGY.inbound, "0", message(1))
    (held,) = await inbox.first(1)
    async with await aio_pika.connect(amqp_url) as connection:
        await (await connection.channel()).queue_delete(QUEUE)
    async with asyncio.timeout(SECONDS):
        await consumer.lost.wait()
    await held.ack()
    await consumer.close()
    await bus.declare()
    await bus.consume(QUEUE, inbox, prefetch=10)
    await bus.publish(TOPOLOGY.inbound, "0", message(2))
    assert numbers(await inbox.first(2)) == [1, 2]


async def test_an_alarm_blocks_publishing_and_not_consuming(mortal_bus: RabbitBus, mortal_rabbitmq: RabbitMQ) -> None:
    bus, broker = mortal_bus, mortal_rabbitmq
    inbox = Inbox()
    many = [("0", message(number)) for number in range(20)]
    assert await bus.publish_many(TOPOLOGY.inbound, many) == [None] * 20
    await asyncio.to_thread(broker.ctl, "set_vm_memory_high_watermark", "absolute", "1000")
    try:
        for attempt in range(3):
            with pytest.raises(BrokerBlocked, match="alarm"):
                await bus.publish(TOPOLOGY.inbound, "0", message(100 + attempt))
        await bus.consume(QUEUE, inbox, prefetch=5)
        for count in range(1, 21):
            await (await inbox.first(count))[-1].ack()
    finally:
        await asyncio.to_thread(broker.ctl, "set_vm_memory_high_watermark", "0.6")
    await publish_until_confirmed(bus, 200)
    await eventually(lambda: _delivered(inbox, 200))


async def test_a_frozen_broker_is_not_waited_for_beyond_the_timeout(amqp_url: str, way: Proxy) -> None:
    bus = RabbitBus(by(way.port, amqp_url), TOPOLOGY, publish_timeout=1, heartbeat=60)
    await bus.start()
    await declared(bus)
    consumer = await bus.consume(QUEUE, Inbox(), prefetch=1)
    way.freeze()
    loop = asyncio.get_running_loop()
    try:
        began = loop.time()
        with pytest.raises(PublishUnconfirmed):
            await bus.publish(TOPOLOGY.inbound, "0", message(1))
        assert loop.time() - began < 30, "its publish_timeout is 1 s, and heartbeats end it later"
        began = loop.time()
        await consumer.close()
        await bus.close()
        assert loop.time() - began < PATIENCE
    finally:
        way.thaw()


async def _is_waited_for(lines: list[EventDict]) -> bool:
    return any(line["event"] == Action.BROKER_WAITING for line in lines)


async def _at_least(items: list[int], count: int) -> bool:
    return len(items) >= count


async def _has_more(bus: RabbitBus, count: int) -> bool:
    return (await bus.depth(QUEUE)).ready > count


async def _succeeds(bus: RabbitBus) -> bool:
    try:
        await bus.depth(QUEUE)
    except BusError:
        return False
    return True


async def _contains(inbox: Inbox, wanted: set[int]) -> bool:
    return wanted <= set(numbers(inbox.deliveries))


async def _delivered(inbox: Inbox, number: int) -> bool:
    return number in numbers(inbox.deliveries)


async def test_nothing_overtakes_the_first_message_of_a_route_that_is_refused(bus: RabbitBus, amqp_url: str) -> None:
    """A queue that is just getting a leader refuses the first messages of a channel, and takes those after them."""
    events = [("session.message.web", message(number)) for number in range(20)]
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        full = await channel.declare_queue("full", arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
        await full.bind(TOPOLOGY.events, "session.#")
        await channel.default_exchange.publish(aio_pika.Message(b"in the way"), "full")
        outcomes = await bus.publish_many(TOPOLOGY.events, events, mandatory=False)
        assert isinstance(outcomes[0], PublishUnconfirmed)
        assert [str(outcome) for outcome in outcomes[1:]] == [NOT_SENT] * 19
        await full.purge()
        await full.delete(if_empty=False)
        inbox = Inbox()
        consumer = await bus.subscribe(("session.#",), inbox)
        assert await bus.publish_many(TOPOLOGY.events, events, mandatory=False) == [None] * 20
        assert numbers(await inbox.first(20)) == list(range(20))
        await consumer.close()


async def test_routes_of_their_own_do_not_wait_for_each_other(bus: RabbitBus, amqp_url: str) -> None:
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        full = await channel.declare_queue("full", arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
        await channel.default_exchange.publish(aio_pika.Message(b"in the way"), "full")
        sent = [("full" if number % 2 else QUEUE, message(number)) for number in range(10)]
        outcomes = await bus.publish_many("", sent)
        assert outcomes[::2] == [None] * 5
        assert isinstance(outcomes[1], PublishUnconfirmed)
        assert [str(outcome) for outcome in outcomes[3::2]] == [NOT_SENT] * 4
        await full.delete(if_empty=False)
