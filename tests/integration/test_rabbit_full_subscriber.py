"""A subscriber's queue on RabbitMQ that is full and refuses more."""

import asyncio

import aio_pika
import pytest

from agentbus.client import AgentBus
from agentbus.contracts.address import Scope, conversation_id_for
from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.topology import Topology
from agentbus.storage.memory import MemoryStore
from agentbus.workers.bus.port import Delivery
from agentbus.workers.bus.rabbit import RabbitBus
from agentbus.workers.session import announcer
from agentbus.workers.session.config import SessionWorkerConfig
from agentbus.workers.session.worker import SessionWorker
from tests.harness.conversations import address, message

SECONDS = 60
MESSAGES = 20


async def test_a_full_queue_that_refuses_stops_no_commit_and_nothing_is_left_out(
    amqp_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcer, "PATIENCE", 0.2)
    heard: list[EventEnvelope] = []

    def hear(delivery: Delivery) -> None:
        heard.append(EventEnvelope.from_bytes(delivery.body))

    store = MemoryStore()
    async with RabbitBus(amqp_url, Topology(partitions=2)) as bus, await aio_pika.connect(amqp_url) as connection:
        await bus.declare()
        channel = await connection.channel()
        full = await channel.declare_queue("full", arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
        await full.bind(bus.topology.events, "session.#")
        await channel.default_exchange.publish(aio_pika.Message(b"in the way"), "full")
        listening = await bus.subscribe(("session.message.*",), hear, prefetch=1000)
        worker = SessionWorker(bus, store, config=SessionWorkerConfig(beat=0.2))
        await worker.start()
        client = AgentBus(bus)
        async with asyncio.timeout(SECONDS):
            for number in range(MESSAGES):
                await client.publish(message(number, str(number)))
            conversation = conversation_id_for(address(), Scope.PER_CHAT_USER)
            while True:
                commits = await store.log.read(conversation, limit=1000)
                events = [event for commit in commits for event in commit.events if event.kind == "message_appended"]
                if len(events) == MESSAGES:
                    break
                await asyncio.sleep(0.05)
            assert {event.event_id for event in events} - {event.id for event in heard}, "nothing was refused"
            await full.delete(if_empty=False)
            while {event.event_id for event in events} - {event.id for event in heard}:
                await asyncio.sleep(0.05)
        firsts = list(dict.fromkeys(event.sequence for event in heard))
        assert firsts == sorted(firsts)
        await worker.close()
        await listening.close()
