"""The roles of the guide, with exactly its permissions: each does what it must, and the broker refuses all else."""

import asyncio
import shlex
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit
from uuid import uuid4

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel
from aiormq.exceptions import ChannelAccessRefused, ChannelPreconditionFailed

from agentbus.client import AgentBus
from agentbus.contracts.address import Scope, conversation_id_for
from agentbus.contracts.commands import CreateSession
from agentbus.contracts.envelope import EventEnvelope, InputEnvelope
from agentbus.contracts.errors import BrokerRejected, UntrustedSender
from agentbus.contracts.ids import session_id_for
from agentbus.contracts.messages import InboundMessage
from agentbus.contracts.parked import ParkedInput
from agentbus.contracts.topology import Topology
from agentbus.operations.parked import ReplayRefused, replay_parked
from agentbus.received import ReceivedEvent
from agentbus.storage.memory import MemoryStore
from agentbus.storage.reading import iter_parked
from agentbus.workers.bus.port import Delivery, Message
from agentbus.workers.bus.rabbit import RabbitBus
from agentbus.workers.ingress.router import IngressRouter
from agentbus.workers.session.config import SessionWorkerConfig
from agentbus.workers.session.worker import SessionWorker
from tests.docs.markdown import ROOT, blocks
from tests.harness.conversations import address, message
from tests.harness.patience import PATIENCE
from tests.services import RabbitMQ, private_rabbitmq
from tests.services.external import ExternalRabbitMQ
from tests.services.rabbitmq import adding_user, permitting

GUIDE = ROOT / "docs" / "broker-permissions.md"
TOPOLOGY = Topology(partitions=2)
PARTITION = TOPOLOGY.partition_queue(TOPOLOGY.all_partitions()[0])
PASSWORD = "secret"  # noqa: S105 - of users of a broker that is gone after the tests
ROLES = ("publisher", "adapter", "subscriber", "bot", "worker", "operator")


@dataclass(frozen=True)
class Broker:
    """A virtual host with a user for each role of the guide."""

    url: str
    users: dict[str, str]

    def url_of(self, role: str) -> str:
        parts = urlsplit(self.url)
        return parts._replace(netloc=f"{self.users[role]}:{PASSWORD}@{parts.netloc.rpartition('@')[2]}").geturl()

    def bus(self, role: str) -> RabbitBus:
        return RabbitBus(self.url_of(role), TOPOLOGY)

    @asynccontextmanager
    async def channel(self, role: str) -> AsyncIterator[AbstractChannel]:
        async with await aio_pika.connect(self.url_of(role)) as connection:
            yield await connection.channel()


@pytest.fixture(scope="module")
def broker(rabbitmq: RabbitMQ) -> Iterator[Broker]:
    if isinstance(rabbitmq, ExternalRabbitMQ):  # no rabbitmqctl there
        with private_rabbitmq() as own, own.fresh_vhost() as url:
            yield prepared(own, url)
    else:
        with rabbitmq.fresh_vhost() as url:
            yield prepared(rabbitmq, url)


BY_THE_PROGRAM = "subscriber"
"""The role whose lines `rabbitmqctl` itself runs: there is one of each kind. Each takes it a second of a processor."""


def prepared(rabbitmq: RabbitMQ, url: str) -> Broker:
    """Do what the guide's own lines say, for this virtual host and with names that nobody else has."""
    users = {role: f"{role}-{uuid4().hex[:8]}" for role in ROLES}
    words = users | {"/": urlsplit(url).path.removeprefix("/"), "$PASSWORD": PASSWORD}
    (block,) = blocks(GUIDE.read_text("utf-8"), "sh")
    for line in block.text.splitlines():
        program, *arguments = shlex.split(line) or [""]
        if program:
            assert program == "rabbitmqctl"
            said = [words.get(word, word) for word in arguments]
            match said:
                case _ if BY_THE_PROGRAM in arguments:
                    rabbitmq.ctl(*said)
                case ["add_user", name, password]:
                    rabbitmq.evaluate(adding_user(name, password))
                case ["set_permissions", "-p", vhost, user, configure, write, read]:
                    rabbitmq.evaluate(permitting(vhost, user, configure, write, read))
                case _:
                    pytest.fail(f"{line} is not of a kind that a line of {BY_THE_PROGRAM} is of")
    asyncio.run(declared(broker := Broker(url, users)))
    return broker


async def declared(broker: Broker) -> None:
    async with broker.bus("operator") as bus:
        await bus.declare()


@dataclass
class Running:
    broker: Broker
    store: MemoryStore

    async def parked(self) -> ParkedInput:
        async with asyncio.timeout(PATIENCE):
            while not (found := [one async for one in iter_parked(self.store)]):
                await asyncio.sleep(0.02)
        return found[0]

    async def until_committed(self, said: InboundMessage) -> str:
        session = session_id_for(conversation_id_for(said.address, Scope.PER_CHAT_USER), 1)
        async with asyncio.timeout(PATIENCE):
            while not await self.store.heads.get(session):
                await asyncio.sleep(0.02)
        return session


@pytest.fixture
async def running(broker: Broker) -> AsyncIterator[Running]:
    """Run a router and a session worker as the worker; they declare the topology as they do at each start."""
    async with AsyncExitStack() as stack:
        bus, store = await stack.enter_async_context(broker.bus("worker")), MemoryStore()
        await bus.declare()
        listed = tuple(broker.users[role] for role in ("bot", "worker", "operator"))
        worker = SessionWorker(bus, store, config=SessionWorkerConfig(command_users=listed))
        stack.push_async_callback(worker.close)
        await worker.start()
        router = IngressRouter(bus)
        stack.push_async_callback(router.close)
        await router.start()
        yield Running(broker, store)


async def published(channel: AbstractChannel, exchange: str, key: str, body: bytes = b"?", **properties: str) -> None:
    where = channel.default_exchange if not exchange else await channel.get_exchange(exchange, ensure=False)
    await where.publish(aio_pika.Message(body, message_id=uuid4().hex, **properties), key, timeout=PATIENCE)  # type: ignore[arg-type]  # only text


async def test_a_publisher_speaks_through_the_ingress_and_commands_nothing(running: Running) -> None:
    said = message(chat="publisher")
    async with running.broker.channel("publisher") as channel:
        command = InputEnvelope(id="c1", data=CreateSession(address=address("command")))
        await published(channel, TOPOLOGY.ingress, "", command.to_bytes())
        await published(channel, TOPOLOGY.ingress, "", InputEnvelope(id="m1", data=said).to_bytes())
    await running.until_committed(said)
    parked = await running.parked()
    assert (parked.code, parked.queue) == ("untrusted_sender", TOPOLOGY.ingress)
    async with running.broker.bus("operator") as bus:
        with pytest.raises(ReplayRefused):
            await replay_parked(bus, running.store, parked.parked_id, scope=Scope.PER_CHAT_USER)


async def test_an_adapter_publishes_and_is_refused_commands_and_sessions(running: Running) -> None:
    async with running.broker.bus("adapter") as bus:
        await bus.check()
        client = AgentBus(bus)
        said = message(chat="adapter")
        await client.publish(said)
        session = await running.until_committed(said)
        with pytest.raises(UntrustedSender):
            await client.send(CreateSession(address=address("adapter")), timeout=PATIENCE)
        with pytest.raises(UntrustedSender):
            await client.session(session, timeout=PATIENCE)


async def test_a_subscriber_gets_the_events_of_its_topics_alone(running: Running) -> None:
    kept: asyncio.Queue[Delivery] = asyncio.Queue()
    live: asyncio.Queue[Delivery] = asyncio.Queue()
    async with running.broker.bus("subscriber") as bus, running.broker.bus("adapter") as adapter:
        await bus.subscribe(("session.message.telegram",), kept.put_nowait, durable="shop")
        await bus.subscribe(("session.*.telegram",), live.put_nowait)
        for pattern in ("session.#", "session.message.slack"):
            with pytest.raises(BrokerRejected):
                await bus.subscribe((pattern,), live.put_nowait)
        with pytest.raises(BrokerRejected):
            await bus.subscribe(("session.message.telegram",), kept.put_nowait, durable="echo-bot")
        await AgentBus(adapter).publish(message(chat="subscriber"))
        async with asyncio.timeout(PATIENCE):
            event = EventEnvelope.from_bytes((await kept.get()).body)
            topics = [EventEnvelope.from_bytes((await live.get()).body).data.routing_key for _ in range(2)]
    assert event.data.routing_key == "session.message.telegram"
    assert topics == ["session.started.telegram", "session.message.telegram"]


async def test_a_bot_hears_replies_asks_and_parks(running: Running) -> None:
    answered, failed = asyncio.Event(), asyncio.Event()
    async with running.broker.bus("bot") as bus, running.broker.bus("adapter") as adapter:
        client = AgentBus(bus)

        @client.on("session.message.*", durable="echo-bot")
        async def answer(event: ReceivedEvent) -> None:
            if not answered.is_set():
                await event.reply("heard", timeout=PATIENCE)
                answered.set()
            else:
                failed.set()
                raise ReplayRefused("no more")

        await client.start()
        said = message(chat="bot")
        await AgentBus(adapter).publish(said)
        await asyncio.wait_for(answered.wait(), PATIENCE)
        session = await running.until_committed(said)
        assert (await client.session(session, timeout=PATIENCE)).version >= 2
        assert len((await client.history(session, timeout=PATIENCE)).items) == 2
        await AgentBus(adapter).publish(message(2, chat="bot"))
        await asyncio.wait_for(failed.wait(), PATIENCE)
        assert (await running.parked()).queue == TOPOLOGY.subscription_queue("echo-bot")
        await client.close()


async def test_an_operator_looks_replays_and_commands(running: Running) -> None:
    seen: asyncio.Queue[Delivery] = asyncio.Queue()
    async with running.broker.bus("operator") as bus:
        await bus.declare()
        await bus.subscribe(("session.#",), seen.put_nowait)
        assert (await bus.depth(PARTITION)).consumers == 1
        client = AgentBus(bus)
        await client.send(CreateSession(address=address("operator")), timeout=PATIENCE)
        await asyncio.wait_for(seen.get(), PATIENCE)
        await bus.publish(TOPOLOGY.inbound, "0", Message(body=b"unreadable", message_id="u1"))
        parked = await running.parked()
        where = await replay_parked(bus, running.store, parked.parked_id, scope=Scope.PER_CHAT_USER)
        assert where == PARTITION


Act = Callable[[AbstractChannel], Awaitable[object]]
REFUSED: dict[str, Act] = {
    "publish to the ingress": lambda channel: published(channel, TOPOLOGY.ingress, ""),
    "publish to a partition": lambda channel: published(channel, TOPOLOGY.inbound, "0"),
    "publish to the parking queue": lambda channel: published(channel, TOPOLOGY.parked, ""),
    "announce": lambda channel: published(channel, TOPOLOGY.events, "session.message.telegram"),
    "publish to any queue": lambda channel: published(channel, "", PARTITION),
    "read a partition": lambda channel: taken(channel, PARTITION),
    "read what is parked": lambda channel: taken(channel, TOPOLOGY.parked),
    "declare a queue": lambda channel: channel.declare_queue("agentbus.inbound.9"),
    "declare an exchange": lambda channel: channel.declare_exchange("agentbus.more"),
    "delete a partition": lambda channel: channel.queue_delete(PARTITION),
    "delete the exchange of events": lambda channel: channel.exchange_delete(TOPOLOGY.events),
    "touch what is not AgentBus's": lambda channel: channel.declare_queue("somebody.elses"),
}
MUST_NOT = {
    "publisher": REFUSED.keys() - {"publish to the ingress"},
    "adapter": REFUSED.keys() - {"publish to a partition"},
    "subscriber": REFUSED.keys() - {"publish to the parking queue"},
    "bot": REFUSED.keys() - {"publish to a partition", "publish to the parking queue"},
    "worker": {"touch what is not AgentBus's"},
    "operator": {"touch what is not AgentBus's"},
}


async def taken(channel: AbstractChannel, name: str) -> None:
    await (await channel.get_queue(name, ensure=False)).get(fail=False, timeout=PATIENCE)


@pytest.mark.parametrize("role", ROLES)
async def test_the_broker_refuses_all_else(broker: Broker, role: str) -> None:
    done = []
    async with await aio_pika.connect(broker.url_of(role)) as connection:
        for name in sorted(MUST_NOT[role]):
            channel = await connection.channel()
            try:
                await REFUSED[name](channel)
            except ChannelAccessRefused:
                continue
            done.append(name)
    assert done == []


async def test_nobody_names_another_user(broker: Broker) -> None:
    async with broker.channel("publisher") as channel:
        with pytest.raises(ChannelPreconditionFailed, match="user_id property set to"):
            await published(channel, TOPOLOGY.ingress, "", user_id=broker.users["bot"])


async def test_who_signs_in_by_another_name_is_told_at_once(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentbus.workers.bus.rabbit.bus.user_of", lambda _: "somebody")
    async with broker.bus("operator") as bus:
        with pytest.raises(BrokerRejected, match="set to 'somebody' but authenticated user was 'operator-"):
            await bus.publish(TOPOLOGY.ingress, "", Message(body=b"?", message_id="x"))
