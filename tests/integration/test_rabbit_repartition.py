"""What waits in RabbitMQ's partitions when their number is changed, and what becomes of it."""

import asyncio
from datetime import UTC, datetime

import pytest

from agentbus.client import AgentBus
from agentbus.contracts.clock import SystemClock
from agentbus.contracts.errors import InstallationMismatch, Unroutable
from agentbus.contracts.topology import Topology
from agentbus.storage.memory import MemoryStore
from agentbus.testing import Published, check, read_evidence
from agentbus.workers.bus.port import Message
from agentbus.workers.bus.rabbit import RabbitBus, installation
from agentbus.workers.bus.rabbit.connections import Link
from agentbus.workers.installation.joining import join_installation
from agentbus.workers.repartition.change import Repartition
from agentbus.workers.session.config import SessionWorkerConfig
from agentbus.workers.session.worker import SessionWorker
from tests.harness.conversations import message

OLD, NEW = Topology(partitions=6), Topology(partitions=10)
USERS, EACH = 40, 25
SECONDS = 60


async def test_a_backlog_is_moved_and_committed_in_order_once(amqp_url: str) -> None:
    store, clock = MemoryStore(), SystemClock()
    published: list[Published] = []
    async with RabbitBus(amqp_url, OLD) as old, RabbitBus(amqp_url, NEW) as new:
        await join_installation(store, old, clock)
        client = AgentBus(old)
        for number in range(EACH):
            said = [message(number, user=f"user{user}", sent_at=datetime.now(UTC)) for user in range(USERS)]
            published += [Published(one.conversation_id, one.input_id) for one in await client.publish_many(said)]
        moved = await Repartition(old, new, store, clock).run()
        assert moved == USERS * EACH
        depths = [await new.depth(NEW.partition_queue(one)) for one in NEW.all_partitions()]
        assert sum(depth.ready for depth in depths) == moved
        worker = SessionWorker(new, store, config=SessionWorkerConfig(beat=0.2))
        await worker.start()
        async with asyncio.timeout(SECONDS):
            while (verdict := check(await read_evidence(store, published))).committed < moved:
                await asyncio.sleep(0.1)
        await worker.close()
    assert verdict.held, verdict.as_dict()
    assert (verdict.lost, verdict.duplicated, verdict.reordered, verdict.parked) == (0, 0, 0, 0)


async def test_who_declares_the_old_number_just_as_the_intake_is_opened_is_undone(
    amqp_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with RabbitBus(amqp_url, OLD) as old, RabbitBus(amqp_url, NEW) as new:
        await old.declare()
        await old.close_intake(NEW.partitions)
        delete, times = installation._delete_exchange, list[str]()

        async def deleted(link: Link, name: str) -> None:
            await delete(link, name)
            if name == NEW.installation and not times:
                times.append(name)
                await old.declare()

        monkeypatch.setattr(installation, "_delete_exchange", deleted)
        await new.open_intake()
        assert times
        await new.check()
        with pytest.raises(InstallationMismatch):
            await old.declare()
        (binding, *_) = OLD.partition_bindings(OLD.all_partitions()[0])
        with pytest.raises(Unroutable):
            await old.publish(binding.exchange, binding.routing_key, Message(body=b"late", message_id="late"))
        (binding, *_) = NEW.partition_bindings(NEW.all_partitions()[0])
        await new.publish(binding.exchange, binding.routing_key, Message(body=b"new", message_id="new"))
