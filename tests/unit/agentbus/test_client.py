"""The client: receipts, publishes made again, refusals, replies that do not come; with and without an event loop."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

import agentbus.client
import agentbus.workers.delivery.inputs
from agentbus.client import AgentBus, connect, connect_sync
from agentbus.contracts.address import Scope, conversation_id_for
from agentbus.contracts.commands import CreateSession, SetData
from agentbus.contracts.envelope import EventEnvelope, InputEnvelope
from agentbus.contracts.errors import (
    BrokerBlocked,
    BrokerUnavailable,
    BusError,
    ConfigurationError,
    PublishUnconfirmed,
    Refused,
    ReplyTimeout,
    SchemaViolation,
    SessionNotFound,
    Unroutable,
    refusal,
)
from agentbus.contracts.ids import ConversationId, conversation_of
from agentbus.contracts.telemetry import Action
from agentbus.contracts.topology import Topology
from agentbus.settings import HURRY, Settings, in_a_hurry, load_settings
from agentbus.storage.memory import MemoryStore
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.bus.port import Bus, Delivery, Message
from agentbus.workers.session.worker import SessionWorker
from tests.harness.builders import a_conversation
from tests.harness.conversations import address, message
from tests.harness.patience import PATIENCE
from tests.services.ports import free_port

NAMES = [str(number) for number in range(6)]


class Doubtful(MemoryBus):
    """A bus that keeps only so many of the next messages, and fails the others as it is told."""

    def __init__(self) -> None:
        super().__init__(Topology(partitions=4))
        self.failures: list[tuple[int, BusError]] = []
        self.asked: list[list[str]] = []

    async def publish_many(
        self, exchange: str, messages: Sequence[tuple[str, Message]], *, mandatory: bool = True
    ) -> list[BusError | None]:
        self.asked.append([message.message_id for _, message in messages])
        if not self.failures:
            return await super().publish_many(exchange, messages, mandatory=mandatory)
        kept, error = self.failures.pop(0)
        outcomes = await super().publish_many(exchange, messages[:kept], mandatory=mandatory)
        return outcomes + [error] * (len(messages) - kept)


class Inhabited(MemoryBus):
    """A bus with a session worker on it, from its start to its end."""

    def __init__(self) -> None:
        super().__init__(Topology(partitions=2))
        self.store = MemoryStore()
        self.worker = SessionWorker(self, self.store)

    async def start(self) -> None:
        await super().start()
        await self.declare()
        await self.worker.start()

    async def close(self) -> None:
        await self.worker.close()
        await super().close()


def declared_within(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    patience = replace(agentbus.workers.delivery.inputs.UNDECLARED, seconds=seconds)
    monkeypatch.setattr(agentbus.workers.delivery.inputs, "UNDECLARED", patience)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = replace(agentbus.workers.delivery.inputs.UNCONFIRMED, longest_wait=0)
    monkeypatch.setattr(agentbus.workers.delivery.inputs, "UNCONFIRMED", at_once)
    declared_within(monkeypatch, 0)


@pytest.fixture
async def bus() -> AsyncIterator[Doubtful]:
    async with Doubtful() as bus:
        await bus.declare()
        yield bus


@pytest.fixture
async def inhabited() -> AsyncIterator[Inhabited]:
    async with Inhabited() as bus:
        yield bus


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch) -> Inhabited:
    """Let `connect` find a bus in this process."""
    bus = Inhabited()

    def make_bus(_: Settings) -> Bus:
        return bus

    monkeypatch.setattr(agentbus.client, "make_bus", make_bus)
    return bus


async def kept(bus: MemoryBus, conversation: ConversationId, count: int) -> list[str]:
    """Take `count` messages out of the conversation's partition; return their ids in order."""
    arrived: asyncio.Queue[Delivery] = asyncio.Queue()
    queue = bus.topology.partition_queue(bus.topology.partition_of(conversation))
    consumer = await bus.consume(queue, arrived.put_nowait, prefetch=1000)
    async with asyncio.timeout(PATIENCE):
        found = [(await arrived.get()).message_id for _ in range(count)]
    await consumer.close()
    assert (await bus.depth(queue)).ready == count
    return found


async def test_a_receipt_tells_where_the_message_is(bus: Doubtful) -> None:
    receipt = await AgentBus(bus).publish(message(1))
    assert receipt.input_id == message(1).input_id()
    assert receipt.conversation_id == conversation_id_for(address(), Scope.PER_CHAT_USER)
    assert receipt.partition == bus.topology.partition_of(receipt.conversation_id)
    assert await kept(bus, receipt.conversation_id, 1) == [receipt.input_id]


async def test_the_scope_decides_which_conversation(bus: Doubtful) -> None:
    receipt = await AgentBus(bus, scope=Scope.PER_CHAT).publish(message())
    assert receipt.conversation_id == conversation_id_for(address(), Scope.PER_CHAT)


async def test_an_id_of_ones_own_replaces_the_derived_one(bus: Doubtful) -> None:
    assert (await AgentBus(bus).publish(message(), input_id="mine")).input_id == "mine"


async def test_there_is_an_id_for_each_message_or_none(bus: Doubtful) -> None:
    with pytest.raises(ValueError, match="shorter"):
        await AgentBus(bus).publish_many([message(1), message(2)], input_ids=["only one"])
    assert bus.asked == []


@pytest.mark.parametrize("error", [PublishUnconfirmed(), BrokerUnavailable(), BrokerBlocked()], ids=lambda e: e.code)
async def test_what_was_not_confirmed_is_published_again_in_order(bus: Doubtful, error: BusError) -> None:
    bus.failures = [(2, error), (0, error), (3, error)]
    receipts = await AgentBus(bus).publish_many([message(name) for name in NAMES], input_ids=NAMES)
    assert [receipt.input_id for receipt in receipts] == NAMES
    assert bus.asked == [NAMES, NAMES[2:], NAMES[2:], NAMES[5:]]
    assert await kept(bus, receipts[0].conversation_id, 6) == NAMES


async def test_after_the_deadline_the_error_is_raised(bus: Doubtful, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agentbus.client, "PUBLISH_DEADLINE", 0)
    bus.failures = [(0, PublishUnconfirmed("no confirm within 10 s"))] * 2
    with pytest.raises(PublishUnconfirmed, match="no confirm within 10 s"):
        await AgentBus(bus).publish(message())
    assert len(bus.asked) == 1


async def test_what_cannot_be_routed_is_told() -> None:
    async with Doubtful() as bus:
        with pytest.raises(Unroutable, match="declare"):
            await AgentBus(bus).publish(message())


async def test_who_sends_waits_for_a_worker_that_is_just_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    declared_within(monkeypatch, PATIENCE)
    async with MemoryBus(Topology(partitions=2)) as bus:
        client = AgentBus(bus)
        with capture_logs() as logs:
            publishing = asyncio.create_task(client.publish(message()))
            asking = asyncio.create_task(client.send(CreateSession(address=address()), timeout=PATIENCE))
            async with asyncio.timeout(PATIENCE):
                while sum(log["event"] == Action.TOPOLOGY_WAITING for log in logs) < 2:
                    await asyncio.sleep(0)
        assert not publishing.done()
        await bus.declare()
        worker = SessionWorker(bus, MemoryStore())
        await worker.start()
        async with asyncio.timeout(PATIENCE):
            assert (await publishing).input_id == message().input_id()
            assert (await asking).session_id
        await worker.close()


async def test_a_broker_that_is_not_there_is_said_within_seconds() -> None:
    with pytest.raises(BrokerUnavailable, match=r"gave up after 2\.5 s: start it, or check host, port"):
        async with connect(f"amqp://localhost:{free_port()}/"):
            pytest.fail("it must not begin")


@pytest.mark.parametrize(
    ("variable", "given", "waits"), [(None, None, HURRY), ("7", None, 7), (None, 0.5, 0.5), ("7", 0.5, 0.5)]
)
def test_who_says_how_long_to_wait_is_obeyed(
    variable: str | None, given: float | None, waits: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AGENTBUS_BROKER_TIMEOUT", raising=False)
    if variable:
        monkeypatch.setenv("AGENTBUS_BROKER_TIMEOUT", variable)
    assert in_a_hurry(load_settings(broker_timeout=given)).bus.broker_timeout == waits
    assert in_a_hurry(load_settings()).store.store_timeout == HURRY


async def test_a_command_is_answered(inhabited: Inhabited) -> None:
    reply = await AgentBus(inhabited).send(CreateSession(address=address()), command_id="c1")
    assert (reply.command_id, reply.repeated) == ("c1", False)
    assert reply.session_id is not None
    assert await inhabited.store.heads.get(reply.session_id) is not None


async def test_a_command_goes_where_it_is_sent(inhabited: Inhabited) -> None:
    reply = await AgentBus(inhabited).send(CreateSession(), to=a_conversation("there"))
    assert reply.session_id is not None
    assert conversation_of(reply.session_id) == a_conversation("there")


async def test_a_command_that_names_no_conversation_is_not_sent(inhabited: Inhabited) -> None:
    with pytest.raises(SchemaViolation, match="to find its conversation"):
        await AgentBus(inhabited).send(CreateSession())


async def test_a_refusal_is_raised_as_what_it_is(inhabited: Inhabited) -> None:
    with pytest.raises(SessionNotFound):
        await AgentBus(inhabited).send(SetData(address=address(), values={"a": 1}))


def test_a_refusal_that_this_release_does_not_know_is_a_refusal() -> None:
    error = refusal("too_late_at_night", "come back tomorrow")
    assert type(error) is Refused
    assert str(error) == "come back tomorrow"


async def test_a_missing_reply_tells_how_to_ask_again(bus: Doubtful) -> None:
    client = AgentBus(bus)
    with pytest.raises(ReplyTimeout, match=r"no reply to create_session in 0\.01 s") as raised:
        await client.send(CreateSession(address=address()), timeout=0.01)
    command_id = raised.value.details["command_id"]
    assert command_id in str(raised.value)
    worker = SessionWorker(bus, MemoryStore())
    await worker.start()
    reply = await client.send(CreateSession(address=address()), command_id=command_id, timeout=PATIENCE)
    assert (reply.command_id, reply.version) == (command_id, 1), "carried out once"
    await worker.close()


async def test_the_conversation_travels_with_the_input(bus: Doubtful) -> None:
    receipt = await AgentBus(bus).publish(message())
    arrived: asyncio.Queue[Delivery] = asyncio.Queue()
    await bus.consume(bus.topology.partition_queue(receipt.partition), arrived.put_nowait, prefetch=1)
    async with asyncio.timeout(PATIENCE):
        envelope = InputEnvelope.from_bytes((await arrived.get()).body)
    assert envelope.partitionkey == receipt.conversation_id
    assert envelope.data == message()


async def test_subscriptions_run_from_start_to_close(inhabited: Inhabited) -> None:
    client = AgentBus(inhabited)
    events: asyncio.Queue[str] = asyncio.Queue()

    @client.on("session.started.*", "session.message.*")
    async def on_event(event: EventEnvelope) -> None:
        events.put_nowait(event.data.kind)

    assert callable(on_event)
    await client.start()
    await client.start()
    await client.publish(message(1))
    async with asyncio.timeout(PATIENCE):
        assert [await events.get(), await events.get()] == ["session_started", "message_appended"]
    await client.close()
    await client.close()
    await client.send(CreateSession(address=address(chat="later")))
    assert events.empty()


async def test_run_goes_on_until_it_is_cancelled(inhabited: Inhabited) -> None:
    client = AgentBus(inhabited)
    handled = asyncio.Event()

    @client.on("session.#", durable="all")
    async def on_event(_: EventEnvelope) -> None:
        handled.set()

    running = asyncio.create_task(client.run())
    queue = inhabited.topology.subscription_queue("all")
    await asyncio.sleep(0)
    assert (await inhabited.depth(queue)).consumers == 1
    await client.publish(message())
    async with asyncio.timeout(PATIENCE):
        await handled.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await client.close()


async def test_connect_opens_and_closes_what_settings_name(inside: Inhabited) -> None:
    seen = asyncio.Event()

    async def on_event(_: EventEnvelope) -> None:
        seen.set()

    async with connect("memory://", scope="per_chat") as client:
        client.on("session.#", durable="kept")(on_event)
        await client.start()
        receipt = await client.publish(message())
        async with asyncio.timeout(PATIENCE):
            await seen.wait()
    assert receipt.conversation_id == conversation_id_for(address(), Scope.PER_CHAT)
    assert not inside.worker.health().live
    with pytest.raises(BrokerUnavailable):
        await inside.depth(inside.topology.ingress)


@pytest.mark.parametrize(
    ("url", "settings", "said"),
    [("memory://", {"brokers": 3}, "no such setting: brokers"), ("http://host/", {}, "no bus for 'http'")],
)
async def test_connect_refuses_wrong_settings(url: str, settings: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        async with connect(url, **settings):
            pytest.fail("it must not begin")


def test_without_an_event_loop_the_calls_are_the_same(inside: Inhabited) -> None:
    with connect_sync("memory://") as client:
        first = client.publish(message(1), input_id="mine")
        second, third = client.publish_many([message(2), message(3)])
        reply = client.send(CreateSession(address=address("other")), command_id="c1")
        with pytest.raises(SessionNotFound):
            client.send(SetData(address=address("nowhere"), values={"a": 1}))
    assert (first.input_id, second.input_id, third.input_id) == ("mine", message(2).input_id(), message(3).input_id())
    assert (reply.command_id, reply.version) == ("c1", 1)
    assert not inside.worker.health().live, "it was closed"


def test_without_an_event_loop_errors_are_raised_too() -> None:
    with connect_sync("memory://") as client, pytest.raises(Unroutable):
        client.publish(message())
    with pytest.raises(ConfigurationError), connect_sync("memory://", partitions=0):
        pytest.fail("it must not begin")
