"""A reactive worker's events over a real broker, by FastStream: none is lost, none blocks the others."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

import agentbus.workers.reactive.handler
from agentbus.contracts.clock import ManualClock
from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.errors import Reject
from agentbus.contracts.topology import Topology
from agentbus.workers.bus.port import Delivery, Message
from agentbus.workers.bus.rabbit import RabbitBus
from agentbus.workers.delivery.parking import read_parked
from agentbus.workers.reactive.app import ReactiveApp
from agentbus.workers.reactive.handler import Handler
from tests.contract.bus_suite import declared
from tests.harness.builders import a_conversation, appended
from tests.harness.patience import PATIENCE
from tests.services import RabbitMQ

TOPOLOGY = Topology(prefix="reactive", partitions=1)


class Noting(Handler):
    """Notes what it was given, and how much at a time."""

    def __init__(self) -> None:
        self.handled: Counter[str] = Counter()
        self.at_a_time = 0
        self.most = 0
        self.pause = 0.0
        self.stuck = False

    async def handle(self, event: EventEnvelope) -> None:
        self.at_a_time += 1
        self.most = max(self.most, self.at_a_time)
        try:
            await asyncio.sleep(3600 if self.stuck else self.pause)
            if event.id.endswith("/13"):
                raise Reject("thirteen")
            self.handled[event.id] += 1
        finally:
            self.at_a_time -= 1


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        agentbus.workers.reactive.handler,
        "FAILING",
        replace(agentbus.workers.reactive.handler.FAILING, longest_wait=0),
    )


@pytest.fixture
async def bus(amqp_url: str) -> AsyncIterator[RabbitBus]:
    async with RabbitBus(amqp_url, TOPOLOGY) as bus:
        await bus.declare()
        yield bus


def app_on(url: str, bus: RabbitBus, handler: Handler, *, prefetch: int = 20) -> ReactiveApp:
    return ReactiveApp(url, bus, "noting", ("session.message.*",), handler, prefetch=prefetch, heartbeat=5)


async def announce(bus: RabbitBus, numbers: range) -> set[str]:
    events = [EventEnvelope.of(appended(a_conversation("ada"), number, str(number))) for number in numbers]
    messages = [(event.data.routing_key, Message(body=event.to_bytes(), message_id=event.id)) for event in events]
    assert not any(await bus.publish_many(TOPOLOGY.events, messages, mandatory=False))
    return {event.id for event in events}


async def until_handled(handler: Noting, expected: set[str]) -> None:
    async with asyncio.timeout(PATIENCE):
        while set(handler.handled) != expected:
            await asyncio.sleep(0.02)


async def until_empty(bus: RabbitBus) -> None:
    async with asyncio.timeout(PATIENCE):
        while (await bus.depth(TOPOLOGY.subscription_queue("noting"))).ready:
            await asyncio.sleep(0.02)


async def test_what_waits_at_the_start_and_what_comes_later_is_handled_once(amqp_url: str, bus: RabbitBus) -> None:
    await bus.declare_subscription("noting", ("session.message.*",))
    waiting = await announce(bus, range(100, 400))
    handler = Noting()
    handler.pause = 0.001
    app = app_on(amqp_url, bus, handler)
    await app.start()
    later = await announce(bus, range(400, 700))
    await until_handled(handler, waiting | later)
    await app.close()
    await app.close()
    assert set(handler.handled.values()) == {1}
    assert 1 < handler.most <= 20
    assert (await bus.depth(TOPOLOGY.subscription_queue("noting"))).ready == 0


async def test_what_cannot_be_handled_is_parked_and_never_comes_again(amqp_url: str, bus: RabbitBus) -> None:
    handler = Noting()
    app = app_on(amqp_url, bus, handler)
    await app.start()
    bodies = {"broken": b"{", "unknown": b'{"specversion": "1.0", "type": "agentbus.event.v2"}'}
    for name, body in bodies.items():
        await bus.publish(TOPOLOGY.events, "session.message.web", Message(body=body, message_id=name))
    await announce(bus, range(13, 14))
    good = await announce(bus, range(14, 20))
    await until_handled(handler, good)
    parked: list[Delivery] = []
    consumer = await bus.consume(TOPOLOGY.parked, parked.append, prefetch=10)
    async with asyncio.timeout(PATIENCE):
        while len(parked) < 2:
            await asyncio.sleep(0.02)
    read = [read_parked(delivery, ManualClock()) for delivery in parked]
    assert {one.code for one in read} == {"undecodable", "reject"}
    assert {one.queue for one in read} == {TOPOLOGY.subscription_queue("noting")}
    await consumer.close()
    await app.close()
    assert (await bus.depth(TOPOLOGY.subscription_queue("noting"))).ready == 0


async def test_what_is_not_finished_at_the_end_comes_to_the_next(
    amqp_url: str, bus: RabbitBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentbus.workers.reactive.app._GRACE", 0.2)
    stuck = Noting()
    stuck.stuck = True
    app = app_on(amqp_url, bus, stuck)
    await app.start()
    expected = await announce(bus, range(100, 150))
    async with asyncio.timeout(PATIENCE):
        while stuck.at_a_time < 20:
            await asyncio.sleep(0.02)
    await app.close()
    assert stuck.at_a_time == 0
    handler = Noting()
    again = app_on(amqp_url, bus, handler)
    await again.start()
    await until_handled(handler, expected)
    await again.close()


async def test_a_queue_that_was_deleted_is_declared_again(
    amqp_url: str, bus: RabbitBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentbus.workers.reactive.app._DECLARE_EVERY", 0.2)
    handler = Noting()
    app = app_on(amqp_url, bus, handler)
    await app.start()
    channel = await bus._in.channel()
    await channel.queue_delete(TOPOLOGY.subscription_queue("noting"))
    async with asyncio.timeout(PATIENCE):
        while not handler.handled:
            await announce(bus, range(100, 101))
            await asyncio.sleep(0.1)
    await app.close()


async def test_a_broker_that_is_killed_and_comes_back_is_found_again(
    mortal_rabbitmq: RabbitMQ, mortal_amqp_url: str
) -> None:
    broker = mortal_rabbitmq
    async with RabbitBus(mortal_amqp_url, TOPOLOGY, publish_timeout=5, heartbeat=5) as bus:
        await declared(bus)
        handler = Noting()
        app = app_on(mortal_amqp_url, bus, handler)
        await app.start()
        before = await announce(bus, range(100, 200))
        await until_handled(handler, before)
        await asyncio.to_thread(broker.sync)
        await asyncio.to_thread(broker.kill)
        await asyncio.to_thread(broker.start)
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    after = await announce(bus, range(200, 300))
                    break
                except AssertionError:  # not confirmed yet
                    await asyncio.sleep(0.2)
        await until_handled(handler, before | after)
        await app.close()
