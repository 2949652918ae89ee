"""Following events over RabbitMQ: one process at a time writes the journal, and another when that one is gone."""

from contextlib import AsyncExitStack

from agentbus.contracts.topology import Topology
from agentbus.storage.memory import MemoryStore
from agentbus.workers.bus.rabbit import RabbitBus
from agentbus.workers.session.config import SessionWorkerConfig
from agentbus.workers.session.worker import SessionWorker
from tests.harness.following import Following

CHATS = ("lobby", "kitchen", "garden")


async def test_each_event_comes_once_and_in_order_though_who_writes_them_down_dies(amqp_url: str) -> None:
    topology, store = Topology(partitions=2), MemoryStore()
    async with AsyncExitStack() as stack:
        buses = [await stack.enter_async_context(RabbitBus(amqp_url, topology)) for _ in range(3)]
        await buses[0].declare()
        worker = SessionWorker(buses[0], store, config=SessionWorkerConfig(beat=0.2))
        await worker.start()
        stack.push_async_callback(worker.close)
        world, other = Following(buses[0], store), Following(buses[1], store)
        stack.push_async_callback(world.close)
        first = await other.live()  # the oldest consumer: it gets the events
        world.bus = buses[2]
        second = await world.live()
        reader, there = other.follow(first), world.follow(second)
        sessions = [await world.session(chat) for chat in CHATS]
        await world.say(*CHATS, count=10)
        await world.settle(*sessions)
        await world.check(reader)
        await world.check(there)
        assert there.ids == reader.ids
        await world.say(*CHATS, count=5)
        await buses[1].close()  # in the middle, as when its process dies
        await other.kill(first)
        await world.say(*CHATS, count=5)
        await world.settle(*sessions)
        await world.check(there)
        again = world.follow(second, reader.last)
        assert await again.until(len(there.ids) - len(reader.ids)) == there.ids[len(reader.ids) :]
