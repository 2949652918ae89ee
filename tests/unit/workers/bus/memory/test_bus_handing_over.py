"""Handing commands over as they are: in their turn, come again as all else does, and answered."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from agentbus.contracts.commands import AppendMessage, CommandReply
from agentbus.contracts.envelope import Input, InputEnvelope
from agentbus.contracts.errors import BrokerUnavailable, ReplyTimeout, Unroutable
from agentbus.contracts.ids import InputId, Partition
from agentbus.contracts.messages import OutboundMessage, TextContent
from agentbus.contracts.topology import Topology
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.bus.memory.broker import MemoryBroker
from agentbus.workers.bus.port import Delivery, HandedOver, Message
from tests.harness.conversations import CONVERSATION
from tests.harness.patience import PATIENCE

ONE = Topology(partitions=1)
QUEUE = ONE.partition_queue(Partition(0))


def a_command(name: str) -> HandedOver:
    said = AppendMessage(message=OutboundMessage(content=TextContent(text=name)))
    return HandedOver(Input(InputId(name), said), CONVERSATION, "/test")


def asking(bus: MemoryBus, name: str, *, timeout: float = PATIENCE) -> "asyncio.Task[CommandReply]":
    return asyncio.create_task(bus.hand_over(ONE.inbound, "0", a_command(name), timeout=timeout))


async def begun() -> None:
    """Let what was begun come to where it waits."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
async def bus() -> AsyncIterator[MemoryBus]:
    async with MemoryBus(ONE) as bus:
        await bus.declare()
        yield bus


async def test_it_comes_at_once_as_it_is_and_its_reply_goes_back(bus: MemoryBus) -> None:
    got: list[Delivery] = []
    await bus.consume(QUEUE, got.append, prefetch=1)
    asked = asking(bus, "one")
    await asyncio.sleep(0)
    [delivery] = got
    assert delivery.handed
    assert delivery.handed.given.id == "one"
    assert delivery.reply_to
    assert not delivery.redelivered
    reply = CommandReply(command_id=InputId("one"), version=7)
    await bus.answer(delivery, reply)
    await delivery.ack()
    assert await asked is reply


async def test_its_bytes_are_those_that_would_have_travelled(bus: MemoryBus) -> None:
    got: list[Delivery] = []
    await bus.consume(QUEUE, got.append, prefetch=1)
    asked = asking(bus, "one")
    await begun()
    read = InputEnvelope.from_bytes(got[0].body)
    assert (read.id, read.partitionkey, read.source) == ("one", CONVERSATION, "/test")
    assert got[0].handed
    assert read.data == got[0].handed.given.data
    assert got[0].message_id == "one"
    await bus.reply(got[0], CommandReply(command_id=InputId("one"), version=3).model_dump_json().encode())
    assert (await asked).version == 3


async def test_it_comes_after_all_that_was_published_before(bus: MemoryBus) -> None:
    got: list[Delivery] = []
    await bus.publish(ONE.inbound, "0", Message(body=b"first", message_id="first"))
    asked = [asking(bus, "second")]
    await begun()
    await bus.publish(ONE.inbound, "0", Message(body=b"third", message_id="third"))
    await bus.consume(QUEUE, got.append, prefetch=1)
    for number in range(4):
        await begun()
        if number == 1:
            asked.append(asking(bus, "fourth"))
        assert len(got) == number + 1, "one at a time: no more has room"
        await got[-1].ack()
    assert [delivery.message_id for delivery in got] == ["first", "second", "third", "fourth"]
    for one in asked:
        one.cancel()


async def test_what_was_not_acknowledged_comes_again(bus: MemoryBus) -> None:
    got: list[Delivery] = []
    consumer = await bus.consume(QUEUE, got.append, prefetch=1)
    asked = asking(bus, "one")
    await begun()
    await consumer.close()
    await got[0].ack()  # too late
    await bus.consume(QUEUE, got.append, prefetch=1)
    await begun()
    assert [one.attempts for one in got] == [1, 2]
    assert got[1].handed
    await bus.answer(got[1], CommandReply(command_id=InputId("one")))
    await bus.answer(got[1], CommandReply(command_id=InputId("one"), repeated=True))  # changes nothing
    assert not (await asked).repeated


async def test_who_hands_over_by_another_bus_of_the_same_broker_is_answered_too() -> None:
    broker = MemoryBroker()
    got: list[Delivery] = []
    async with MemoryBus(ONE, broker, user="worker") as bus, MemoryBus(ONE, broker, user="ann") as hers:
        await bus.declare()
        await bus.consume(QUEUE, got.append, prefetch=1)
        asked = asking(hers, "one")
        await begun()
        assert got[0].user == "ann"
        await bus.answer(got[0], CommandReply(command_id=InputId("one"), version=1))
        assert (await asked).version == 1


async def test_one_that_can_not_be_taken_is_dead_lettered_with_its_bytes(bus: MemoryBus) -> None:
    def refuse(_: Delivery) -> None:
        raise ZeroDivisionError

    dead: list[Delivery] = []
    await bus.consume(QUEUE, refuse, prefetch=1)
    await bus.consume(ONE.parked, dead.append, prefetch=1)
    asked = asking(bus, "one", timeout=0.05)
    await begun()
    assert InputEnvelope.from_bytes(dead[0].body).id == "one"
    with pytest.raises(ReplyTimeout, match="retry with the same command id"):
        await asked


async def test_nobody_waits_for_ever(bus: MemoryBus) -> None:
    with pytest.raises(ReplyTimeout):
        await asking(bus, "no worker", timeout=0.01)
    asked = asking(bus, "the bus is closed meanwhile")
    await begun()
    await bus.close()
    with pytest.raises(ReplyTimeout, match="closed"):
        await asked
    with pytest.raises(BrokerUnavailable):
        await asking(bus, "the bus is closed")


async def test_where_no_queue_takes_it_that_is_said() -> None:
    async with MemoryBus(ONE) as bus:
        with pytest.raises(Unroutable):
            await asking(bus, "one")
