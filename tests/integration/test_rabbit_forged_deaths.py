"""Who publishes with an expiration decides when the broker dead-letters it, and which headers it has by then.

`x-first-death-...` the broker writes only where there was no `x-death` before, and of several headers of one name it
changes the first: so a publisher can make each of them say something else, unless it is read as it should be.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from agentbus.contracts.clock import ManualClock
from agentbus.contracts.parked import ParkedInput
from agentbus.contracts.topology import Topology
from agentbus.workers.bus.port import Delivery
from agentbus.workers.bus.rabbit import RabbitBus
from agentbus.workers.bus.rabbit.connections import Link
from agentbus.workers.delivery.parking import DEAD_LETTERED, read_parked
from tests.harness.patience import PATIENCE
from tests.harness.raw_amqp import publish_raw, short, table

TOPOLOGY = Topology(prefix="forged", partitions=1)
VICTIM = b"forged.inbound.0"


def text(name: bytes, value: bytes) -> bytes:
    return short(name) + b"S" + table(value)


def deaths(*fields: bytes, name: bytes = b"x-death") -> bytes:
    return short(name) + b"A" + table(b"".join(b"F" + table(one) for one in fields))


def a_death(queue: bytes, reason: bytes = b"rejected") -> bytes:
    return text(b"queue", queue) + text(b"reason", reason) + text(b"exchange", b"x")


FIRST = text(b"x-first-death-queue", VICTIM) + text(b"x-first-death-reason", b"rejected")
OURS = text(b"x-agentbus-queue", VICTIM) + text(b"x-agentbus-code", b"killed_worker")
PADDING = text(b"padding", b"x" * 6000)

FORGED = {
    "ours": OURS,
    "first death": FIRST,
    "another death": deaths(a_death(VICTIM)) + FIRST + OURS,
    "no death": deaths() + FIRST + OURS,
    "no death, in a large header": deaths() + FIRST + OURS + PADDING,
    "death twice": deaths(a_death(VICTIM)) + deaths(a_death(VICTIM)) + FIRST + OURS,
    "death twice, the second no array": deaths(a_death(VICTIM)) + text(b"x-death", b"nonsense") + FIRST + OURS,
    "the same death, with more to it": deaths(a_death(b"forged.ingress", b"expired") + text(b"queue", VICTIM)) + OURS,
    "death in words": text(b"x-death", b"nonsense") + FIRST + OURS,
    "another death, in a large header": deaths(a_death(VICTIM)) + FIRST + OURS + PADDING,
}


@pytest.fixture
async def bus(amqp_url: str) -> AsyncIterator[RabbitBus]:
    async with RabbitBus(amqp_url, TOPOLOGY) as bus:
        await bus.declare()
        yield bus


async def test_the_record_says_where_it_was_and_nothing_else(bus: RabbitBus, attacker: Link) -> None:
    arrived: asyncio.Queue[Delivery] = asyncio.Queue()
    await bus.consume(TOPOLOGY.parked, arrived.put_nowait, prefetch=100)
    channel = await attacker.channel()
    for name, headers in FORGED.items():
        properties = {"headers": table(headers), "expiration": short(b"1")}
        await publish_raw(channel, TOPOLOGY.ingress, b"", name.encode(), properties)
    found: dict[str, ParkedInput] = {}
    async with asyncio.timeout(PATIENCE):
        while len(found) < len(FORGED):
            delivery = await arrived.get()
            found[delivery.body.decode()] = read_parked(delivery, ManualClock(datetime(2026, 1, 1, tzinfo=UTC)))
            await delivery.ack()
    said = {name: (one.queue, one.code, one.reason) for name, one in found.items()}
    expected = (TOPOLOGY.ingress, DEAD_LETTERED, "dead-lettered by the broker: expired")
    assert said == dict.fromkeys(FORGED, expected)
