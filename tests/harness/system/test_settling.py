"""What a campaign waits for before it judges."""

import asyncio
from datetime import UTC, datetime

from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.topology import Topology
from agentbus.storage.memory import MemoryStore
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.bus.port import Message
from agentbus.workers.session.arrears import GROUP
from tests.harness.system.queues import until_settled
from tests.harness.system.recorder import SUBSCRIPTION

OWED = Record(
    kind=RecordKind.UNANNOUNCED, key="ada/", group=GROUP, created_at=datetime(2026, 1, 1, tzinfo=UTC), data={}
)


async def test_what_is_owed_is_waited_for_and_what_waits_in_a_queue_too() -> None:
    store, topology = MemoryStore(), Topology(partitions=1)
    async with MemoryBus(topology) as bus:
        await bus.declare()
        await bus.declare_subscription(SUBSCRIPTION, ("session.#",))
        await store.records.put_many([OWED])
        settled = asyncio.create_task(until_settled(bus, store))
        await asyncio.wait({settled}, timeout=0.5)
        assert not settled.done(), "an announcement is owed"
        await bus.publish(topology.events, "session.message.web", Message(body=b"late", message_id="late"))
        await store.records.drop([OWED])
        await asyncio.wait({settled}, timeout=0.5)
        assert not settled.done(), "the late announcement is not received yet"
        consumer = await bus.consume(topology.subscription_queue(SUBSCRIPTION), lambda _: None, prefetch=1)
        await settled
        await consumer.close()
