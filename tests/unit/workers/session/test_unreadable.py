"""What can't be read is parked together, beside the rounds; one that can't be parked is in nobody's way."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from unittest.mock import Mock

import pytest
from structlog.testing import capture_logs

from agentbus.contracts.errors import AgentBusError, BusError, SchemaViolation, Undecodable
from agentbus.contracts.ids import Partition
from agentbus.contracts.telemetry import Action
from agentbus.contracts.topology import Topology
from agentbus.storage.memory import MemoryStore
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.bus.port import Message
from agentbus.workers.delivery.telemetry import WorkerMetrics
from agentbus.workers.session.holdings import Holding
from agentbus.workers.session.ownership import Ownership
from agentbus.workers.session.unreadable import Unreadable
from tests.harness.deliveries import Handed
from tests.harness.patience import PATIENCE


class Choosy(MemoryBus):
    """A bus that notes how many messages are published together, and can't write one of them into a frame."""

    def __init__(self, topology: Topology) -> None:
        super().__init__(topology)
        self.together: list[int] = []

    async def publish_many(
        self, exchange: str, messages: Sequence[tuple[str, Message]], *, mandatory: bool = True
    ) -> list[BusError | None]:
        self.together.append(len(messages))
        if any(message.message_id == "unwritable" for _, message in messages):
            raise ValueError("a frame has no room for it")
        return await super().publish_many(exchange, messages, mandatory=mandatory)


@pytest.fixture
async def bus() -> AsyncIterator[Choosy]:
    async with Choosy(Topology(partitions=1)) as bus:
        await bus.declare()
        yield bus


@pytest.fixture
def settled() -> list[AgentBusError]:
    return []


@pytest.fixture
async def unreadable(bus: Choosy, settled: list[AgentBusError]) -> AsyncIterator[Unreadable]:
    ownership = Mock(spec=Ownership)
    ownership.settled.side_effect = lambda _, error: settled.append(error)
    async with MemoryStore() as store:
        made = Unreadable(bus, store, ownership, metrics=WorkerMetrics())
        yield made
        await made.close()


@pytest.fixture
def holding(bus: Choosy) -> Holding:
    return Holding(Partition(0), bus.topology.partition_queue(Partition(0)), owner=True)


async def until_idle(holding: Holding) -> None:
    async with asyncio.timeout(PATIENCE):
        await holding.until_idle()


async def test_what_has_come_is_parked_together(
    bus: Choosy, unreadable: Unreadable, holding: Holding, settled: list[AgentBusError]
) -> None:
    many = [Handed(b"%d" % number, message_id=str(number)) for number in range(150)]
    for one in many:
        unreadable.push(holding, one, Undecodable())
    await until_idle(holding)
    assert bus.together == [100, 50]
    assert [one.acked for one in many] == [1] * 150
    assert len(settled) == 150


async def test_one_that_cannot_be_parked_is_left_and_the_others_are_parked(
    bus: Choosy, unreadable: Unreadable, holding: Holding
) -> None:
    given = [Handed(b"x", message_id=name) for name in ("a", "unwritable", "b")]
    with capture_logs() as said:
        for one in given:
            unreadable.push(holding, one, SchemaViolation())
        await until_idle(holding)
    assert [one.acked for one in given] == [1, 0, 1]
    assert (await bus.depth(bus.topology.parked)).ready == 2
    assert [line["message_id"] for line in said if line["event"] == Action.DELIVERY_LEFT] == ["unwritable"]
    late = Handed(b"x", message_id="c")
    unreadable.push(holding, late, SchemaViolation())
    await until_idle(holding)
    assert late.acked == 1, "and it goes on"
