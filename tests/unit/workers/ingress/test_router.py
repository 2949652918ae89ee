"""The ingress router: order, routing, what can't be routed, and confirms that do not come."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

import agentbus.workers.delivery.retry
from agentbus.contracts.address import Scope, conversation_id_for
from agentbus.contracts.clock import SystemClock
from agentbus.contracts.commands import CommandReply, CreateSession, SetData
from agentbus.contracts.envelope import InputEnvelope
from agentbus.contracts.errors import BusError, PublishUnconfirmed
from agentbus.contracts.ids import ConversationId, conversation_of, session_id_for
from agentbus.contracts.messages import InboundMessage
from agentbus.contracts.queries import ReadSession
from agentbus.contracts.topology import Topology
from agentbus.storage.memory import MemoryStore
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.bus.port import Delivery, Message
from agentbus.workers.delivery.parking import read_parked
from agentbus.workers.delivery.telemetry import WorkerMetrics
from agentbus.workers.ingress.router import IngressRouter
from agentbus.workers.session.worker import SessionWorker
from tests.harness.builders import a_conversation
from tests.harness.conversations import address, message
from tests.harness.patience import PATIENCE

SESSION = session_id_for(a_conversation("s"), 3)


class Doubtful(MemoryBus):
    """A bus that keeps only so many of the next messages to partitions, and confirms none of the others."""

    def __init__(self, topology: Topology) -> None:
        super().__init__(topology)
        self.keeps: list[int] = []
        self.asked: list[int] = []

    async def publish_many(
        self, exchange: str, messages: Sequence[tuple[str, Message]], *, mandatory: bool = True
    ) -> list[BusError | None]:
        if exchange != self.topology.inbound:
            return await super().publish_many(exchange, messages, mandatory=mandatory)
        self.asked.append(len(messages))
        kept = self.keeps.pop(0) if self.keeps else len(messages)
        outcomes = await super().publish_many(exchange, messages[:kept], mandatory=mandatory)
        return outcomes + [PublishUnconfirmed()] * (len(messages) - kept)


class Sink:
    """Takes what comes out at the partitions."""

    def __init__(self) -> None:
        self.arrived: asyncio.Queue[Delivery] = asyncio.Queue()

    async def take(self, count: int) -> list[Delivery]:
        async with asyncio.timeout(PATIENCE):
            return [await self.arrived.get() for _ in range(count)]


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        agentbus.workers.delivery.retry, "OUTAGES", replace(agentbus.workers.delivery.retry.OUTAGES, longest_wait=0)
    )


@pytest.fixture
async def bus() -> AsyncIterator[Doubtful]:
    async with Doubtful(Topology(partitions=4)) as bus:
        await bus.declare()
        yield bus


@pytest.fixture
async def sink(bus: Doubtful) -> Sink:
    sink = Sink()
    for partition in bus.topology.all_partitions():
        await bus.consume(bus.topology.partition_queue(partition), sink.arrived.put_nowait, prefetch=1000)
    return sink


@pytest.fixture
async def router(bus: Doubtful) -> AsyncIterator[IngressRouter]:
    router = IngressRouter(bus)
    await router.start()
    yield router
    await router.close()


async def publish(bus: MemoryBus, data: InboundMessage, name: str, *, to: ConversationId | None = None) -> None:
    body = InputEnvelope(id=name, partitionkey=to, data=data).to_bytes()
    await bus.publish(bus.topology.ingress, "", Message(body=body, message_id=name))


async def until_acknowledged(bus: MemoryBus) -> None:
    ingress = bus._broker.queue(bus.topology.ingress)
    async with asyncio.timeout(PATIENCE):
        while ingress.ready or any(consumer._unacked for consumer in ingress.consumers):
            await asyncio.sleep(0)


async def left_in_ingress(bus: MemoryBus, router: IngressRouter) -> int:
    """Return what was not acknowledged."""
    await router.close()
    return (await bus.depth(bus.topology.ingress)).ready


@pytest.mark.usefixtures("router")
async def test_messages_come_out_in_their_order(bus: Doubtful, sink: Sink) -> None:
    for number in range(50):
        await publish(bus, message(number), str(number))
    assert [delivery.message_id for delivery in await sink.take(50)] == [str(number) for number in range(50)]
    await until_acknowledged(bus)


@pytest.mark.usefixtures("router")
async def test_an_input_that_cannot_be_sent_is_parked_and_the_others_go_on(
    bus: Doubtful, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_many = bus.publish_many

    async def refuse(exchange: str, messages: Sequence[tuple[str, Message]], **given: bool) -> list[BusError | None]:
        if exchange == bus.topology.inbound and any(sent.message_id == "2" for _, sent in messages):
            raise TypeError("a frame has no room for it")
        return await publish_many(exchange, messages, **given)

    monkeypatch.setattr(bus, "publish_many", refuse)
    for number in range(5):
        await publish(bus, message(number), str(number))
    assert [delivery.message_id for delivery in await sink.take(4)] == ["0", "1", "3", "4"]
    await until_acknowledged(bus)
    assert (await bus.depth(bus.topology.parked)).ready == 1


@pytest.mark.parametrize(
    ("data", "to", "expected"),
    [
        (message(), None, conversation_id_for(address(), Scope.PER_CHAT_USER)),
        (message(), a_conversation("key"), a_conversation("key")),
    ],
    ids=["address", "key"],
)
@pytest.mark.usefixtures("router")
async def test_an_input_goes_to_its_conversations_partition(
    bus: Doubtful,
    sink: Sink,
    data: InboundMessage,
    to: ConversationId | None,
    expected: ConversationId,
) -> None:
    await publish(bus, data, "x", to=to)
    (delivery,) = await sink.take(1)
    assert delivery.queue == bus.topology.partition_queue(bus.topology.partition_of(expected))
    envelope = InputEnvelope.from_bytes(delivery.body)
    assert envelope.partitionkey == expected, "the owner need not work it out again"
    assert (envelope.id, envelope.data) == ("x", data)


async def test_the_scope_decides_which_conversation(bus: Doubtful, sink: Sink) -> None:
    router = IngressRouter(bus, scope=Scope.PER_CHAT)
    await router.start()
    for user in ("ada", "bob"):
        await publish(bus, message(user=user), user)
    keys = {InputEnvelope.from_bytes(delivery.body).partitionkey for delivery in await sink.take(2)}
    assert keys == {conversation_id_for(address(), Scope.PER_CHAT)}
    await router.close()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"not json", "undecodable"),
        (b'{"specversion": "1.0", "type": "other"}', "unsupported_type"),
        (InputEnvelope(id="nowhere", data=SetData()).to_bytes(), "untrusted_sender"),
        (InputEnvelope(id="c", data=CreateSession(address=address())).to_bytes(), "untrusted_sender"),
        (InputEnvelope(id="q", data=ReadSession(session_id=SESSION)).to_bytes(), "untrusted_sender"),
    ],
)
@pytest.mark.usefixtures("router")
async def test_what_cannot_be_routed_is_parked_and_its_neighbours_are_not(
    bus: Doubtful, sink: Sink, body: bytes, code: str
) -> None:
    parked = Sink()
    await bus.consume(bus.topology.parked, parked.arrived.put_nowait, prefetch=10)
    await publish(bus, message(1), "first")
    await bus.publish(bus.topology.ingress, "", Message(body=body, message_id="bad"))
    await publish(bus, message(2), "second")
    assert [delivery.message_id for delivery in await sink.take(2)] == ["first", "second"]
    (bad,) = [read_parked(delivery, SystemClock()) for delivery in await parked.take(1)]
    assert (bad.message_id, bad.code, bad.queue, bad.body) == ("bad", code, bus.topology.ingress, body)
    await until_acknowledged(bus)


async def test_what_was_not_confirmed_is_published_again_in_order(bus: Doubtful, sink: Sink) -> None:
    bus.keeps = [4, 0, 1, 0]
    for number in range(10):
        await publish(bus, message(number), str(number))
    registry = CollectorRegistry()
    router = IngressRouter(bus, metrics=WorkerMetrics(registry))
    await router.start()
    assert [delivery.message_id for delivery in await sink.take(10)] == [str(number) for number in range(10)]
    await until_acknowledged(bus)
    await router.close()
    assert bus.asked == [10, 6, 6, 5, 5]
    assert registry.get_sample_value("agentbus_ingress_routed_total") == 10


async def test_what_is_not_confirmed_is_not_acknowledged(bus: Doubtful, router: IngressRouter) -> None:
    bus.keeps = [0] * 1_000_000
    await publish(bus, message(), "1")
    async with asyncio.timeout(PATIENCE):
        while len(bus.asked) < 5:
            await asyncio.sleep(0)
    assert await left_in_ingress(bus, router) == 1


@pytest.mark.usefixtures("router")
async def test_a_lost_connection_loses_nothing(bus: Doubtful) -> None:
    for number in range(20):
        await publish(bus, message(number), str(number))
    bus.disconnect()
    sink, names = Sink(), [str(number) for number in range(20)]
    for partition in bus.topology.all_partitions():
        await bus.consume(bus.topology.partition_queue(partition), sink.arrived.put_nowait, prefetch=1000)
    seen: dict[str, None] = {}
    while len(seen) < 20:
        seen |= dict.fromkeys(delivery.message_id for delivery in await sink.take(1))
    assert list(seen) == names


@pytest.mark.usefixtures("router")
async def test_a_message_with_a_reply_address_gets_its_reply(bus: Doubtful) -> None:
    worker = SessionWorker(bus, MemoryStore())
    await worker.start()
    body = InputEnvelope(id="m1", data=message()).to_bytes()
    answer = await bus.request(bus.topology.ingress, "", Message(body=body, message_id="m1"), timeout=PATIENCE)
    reply = CommandReply.model_validate_json(answer)
    assert (reply.command_id, reply.error) == ("m1", None)
    assert reply.session_id is not None
    assert conversation_of(reply.session_id) == conversation_id_for(address(), Scope.PER_CHAT_USER)
    await worker.close()


async def test_a_second_router_takes_over_when_the_first_is_closed(
    bus: Doubtful, sink: Sink, router: IngressRouter
) -> None:
    second = IngressRouter(bus)
    await second.start()
    await router.close()
    await publish(bus, message(), "1")
    assert [delivery.message_id for delivery in await sink.take(1)] == ["1"]
    await second.close()
