"""Who may send what: chat messages anybody, commands and queries the broker users that the installation lists."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from agentbus.client import AgentBus
from agentbus.contracts.address import Scope
from agentbus.contracts.commands import AnyCommand, CreateSession, SetData
from agentbus.contracts.envelope import InputEnvelope
from agentbus.contracts.errors import UntrustedSender
from agentbus.contracts.ids import ConversationId, session_id_for
from agentbus.contracts.parked import ParkedInput
from agentbus.contracts.queries import ReadSession
from agentbus.contracts.topology import Topology
from agentbus.operations.parked import ReplayRefused, replay_parked
from agentbus.operations.unblocking import replay_conversation
from agentbus.storage.memory import MemoryStore
from agentbus.storage.reading import iter_parked
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.bus.memory.broker import MemoryBroker
from agentbus.workers.bus.port import Headers, Message
from agentbus.workers.delivery.trust import SENDERS, are_trusted, passed_on, senders_of
from agentbus.workers.session.config import SessionWorkerConfig
from agentbus.workers.session.worker import SessionWorker
from tests.harness.builders import a_conversation
from tests.harness.conversations import address, message
from tests.harness.deliveries import Handed
from tests.harness.patience import PATIENCE

TOPOLOGY = Topology(partitions=2)
LISTED = ("worker", "bot", "operator")
SCOPE = Scope.PER_CHAT_USER
CONVERSATION = a_conversation("key")


@dataclass
class World:
    store: MemoryStore
    bot: MemoryBus
    stranger: MemoryBus
    operator: MemoryBus

    async def send(self, bus: MemoryBus, data: AnyCommand | ReadSession, name: str = "c1") -> None:
        body = InputEnvelope(id=name, partitionkey=CONVERSATION, data=data).to_bytes()
        key = str(TOPOLOGY.partition_of(CONVERSATION))
        await bus.publish(TOPOLOGY.inbound, key, Message(body=body, message_id=name))

    async def parked(self, count: int = 1) -> list[ParkedInput]:
        async with asyncio.timeout(PATIENCE):
            while len(found := [one async for one in iter_parked(self.store)]) < count:
                await asyncio.sleep(0)
        return found

    async def version(self, conversation: ConversationId = CONVERSATION) -> int:
        head = await self.store.heads.get(session_id_for(conversation, 1))
        return head.version if head else 0


@pytest.fixture
async def world() -> AsyncIterator[World]:
    broker, store = MemoryBroker(), MemoryStore()
    async with AsyncExitStack() as stack:
        buses = [
            await stack.enter_async_context(MemoryBus(TOPOLOGY, broker, user=user))
            for user in ("worker", "bot", "stranger", "operator")
        ]
        await buses[0].declare()
        worker = SessionWorker(buses[0], store, config=SessionWorkerConfig(command_users=LISTED))
        stack.push_async_callback(worker.close)
        await worker.start()
        yield World(store, *buses[1:])


async def test_who_is_listed_sends_commands_and_queries(world: World) -> None:
    bot = AgentBus(world.bot)
    made = await bot.send(CreateSession(address=address()))
    assert made.session_id is not None
    assert (await bot.session(made.session_id)).session_id == made.session_id


async def test_who_is_not_listed_sends_messages_alone_and_is_told_so(world: World) -> None:
    stranger = AgentBus(world.stranger)
    with pytest.raises(UntrustedSender, match="create_session came from 'stranger': AGENTBUS_COMMAND_USERS"):
        await stranger.send(CreateSession(address=address()))
    receipt = await stranger.publish(message())
    bot = AgentBus(world.bot)
    session = session_id_for(receipt.conversation_id, 1)
    async with asyncio.timeout(PATIENCE):
        while not await world.version(receipt.conversation_id):
            await asyncio.sleep(0)
    with pytest.raises(UntrustedSender, match="read_session came from 'stranger'"):
        await stranger.session(session)
    assert (await bot.session(session)).session_id == session


@pytest.mark.parametrize("data", [CreateSession(), ReadSession(session_id=session_id_for(CONVERSATION, 1))])
async def test_what_a_stranger_sends_without_waiting_is_parked_and_no_replay_carries_it_out(
    world: World, data: AnyCommand | ReadSession
) -> None:
    await world.send(world.stranger, data)
    (parked,) = await world.parked()
    assert (parked.code, parked.queue, parked.conversation_id) == ("untrusted_sender", TOPOLOGY.ingress, None)
    with pytest.raises(ReplayRefused, match=f"{data.kind} of somebody who may send chat messages alone"):
        await replay_parked(world.operator, world.store, parked.parked_id, scope=SCOPE)
    assert await world.version() == 0


async def test_an_operator_may_give_a_strangers_command_as_their_own(world: World) -> None:
    await world.send(world.stranger, CreateSession())
    (parked,) = await world.parked()
    whole = await world.store.parked.get(parked.parked_id)
    assert whole is not None
    await replay_parked(world.operator, world.store, parked.parked_id, scope=SCOPE, corrected=whole.body)
    async with asyncio.timeout(PATIENCE):
        while not await world.version():
            await asyncio.sleep(0)


async def test_a_parked_command_of_a_bot_is_replayed(world: World) -> None:
    refused = SetData(session_id=session_id_for(CONVERSATION, 1))  # there is no such session yet
    await world.send(world.bot, refused)
    (parked,) = await world.parked()
    assert parked.conversation_id == CONVERSATION
    await world.send(world.bot, CreateSession(), "c2")
    assert (await replay_conversation(world.operator, world.store, CONVERSATION, scope=SCOPE)).published == 1
    async with asyncio.timeout(PATIENCE):
        while await world.version() < 2:
            await asyncio.sleep(0)


async def test_a_parked_message_of_a_stranger_keeps_its_conversation_and_is_replayed(world: World) -> None:
    late = message(sent_at=datetime(9000, 1, 1, tzinfo=UTC))
    receipt = await AgentBus(world.stranger).publish(late)
    (parked,) = await world.parked()
    assert (parked.code, parked.conversation_id) == ("future_timestamp", receipt.conversation_id)
    assert (await replay_conversation(world.operator, world.store, receipt.conversation_id, scope=SCOPE)).published


async def test_who_writes_to_the_parking_queue_does_not_choose_the_partition(world: World) -> None:
    body = InputEnvelope(id="c1", partitionkey=CONVERSATION, data=CreateSession()).to_bytes()
    headers: Headers = {
        "x-agentbus-queue": TOPOLOGY.partition_queue(TOPOLOGY.partition_of(CONVERSATION)),
        "x-agentbus-conversation": CONVERSATION,
        "x-agentbus-code": "killed_worker",
        SENDERS: "worker",
    }
    await world.stranger.publish(TOPOLOGY.parked, "", Message(body=body, message_id="c1", headers=headers))
    (parked,) = await world.parked()
    assert (parked.queue, parked.conversation_id) == (TOPOLOGY.ingress, None)
    with pytest.raises(ReplayRefused):
        await replay_parked(world.operator, world.store, parked.parked_id, scope=SCOPE)


async def test_what_cannot_be_read_goes_back_to_our_own_queues_alone(world: World) -> None:
    forged: Headers = {"x-agentbus-queue": "somebody.elses", "x-agentbus-code": "undecodable"}
    await world.stranger.publish(TOPOLOGY.parked, "", Message(body=b"?", message_id="x", headers=forged))
    (parked,) = await world.parked()
    with pytest.raises(ReplayRefused, match=r"'somebody\.elses', which is no queue of AgentBus's"):
        await replay_parked(world.operator, world.store, parked.parked_id, scope=SCOPE)


def test_hands_are_remembered_and_trust_is_only_ever_lost() -> None:
    moved = Handed(user="operator", headers=passed_on(Handed(user="stranger")))
    assert senders_of(moved) == {"operator", "stranger"}
    assert not are_trusted(moved, LISTED)
    assert not are_trusted(Handed(user="stranger", headers={SENDERS: "worker\nbot"}), LISTED)
    assert are_trusted(Handed(user="operator", headers=passed_on(Handed(user="bot"))), LISTED)
    assert not are_trusted(Handed(user=None), LISTED)
    assert not are_trusted(Handed(user="operator", headers=passed_on(Handed(user=None))), LISTED)
    assert are_trusted(Handed(user=None), ())


def test_a_long_list_of_senders_trusts_nobody_and_does_not_grow() -> None:
    long = Handed(user="worker", headers={SENDERS: "\n".join(f"bot{number}" for number in range(1000))})
    assert passed_on(long) == {SENDERS: ""}
    assert not are_trusted(Handed(user="worker", headers=passed_on(long)), LISTED)


@pytest.mark.parametrize(
    ("queue", "way"),
    [
        ("agentbus.ingress", ("agentbus.ingress", "")),
        ("agentbus.inbound.7", ("agentbus.inbound", "7")),
        ("agentbus.subscription.bot", ("", "agentbus.subscription.bot")),
        ("agentbus.parked", None),
        ("agentbus.inbound.x", None),
        ("agentbus.inbound.²", None),
        ("agentbus.inbound", None),
        ("somebody.elses", None),
        ("", None),
    ],
)
def test_the_way_back_to_a_queue(queue: str, way: tuple[str, str] | None) -> None:
    assert TOPOLOGY.way_back(queue) == way


@pytest.mark.parametrize(
    ("place", "taken"),
    [
        ("amq.rabbitmq.reply-to.g1h2AA5yZXBseQ", True),
        ("agentbus.reply.shop", True),
        ("amq.rabbitmq.reply-to", False),
        ("agentbus.replyx", False),
        ("agentbus.ingress", False),
        ("agentbus.inbound.0", False),
        ("", False),
    ],
)
def test_replies_go_to_who_asked(place: str, taken: bool) -> None:
    assert TOPOLOGY.takes_reply(place) is taken
