"""Partitions in a worker's hands: none is let go of in the middle of a turn, whatever happens meanwhile."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from agentbus.contracts.ids import Partition
from agentbus.contracts.members import Member, WorkerId
from agentbus.contracts.topology import Topology
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.domain.assignment import Assignment
from agentbus.workers.session.holdings import Holding, Holdings
from tests.harness.conversations import NOW
from tests.harness.patience import PATIENCE

ME, OTHER = WorkerId("me"), WorkerId("other")
ONE = Partition(0)
READY = Member(worker_id=OTHER, host="h", pid=1, started_at=NOW, owns=(ONE,))
MINE = {ONE: Assignment(owner=ME, standby=None)}


@pytest.fixture
async def bus() -> AsyncIterator[MemoryBus]:
    async with MemoryBus(Topology(partitions=1)) as bus:
        await bus.declare()
        yield bus


def holdings_on(bus: MemoryBus) -> Holdings:
    return Holdings(
        bus, ME, prefetch=1, on_delivery=lambda *_: None, drop=lambda _: None, forget=lambda held: held.end_lease()
    )


async def consumers(bus: MemoryBus) -> int:
    return (await bus.depth(bus.topology.partition_queue(ONE))).consumers


async def at_work(bus: MemoryBus, holdings: Holdings) -> Holding:
    """Return a partition that is ours, with a turn of it under way."""
    await holdings.apply(MINE, ())
    holding = holdings.get(ONE)
    assert holding
    assert await consumers(bus) == 1
    holding.active = True
    holding.begin_turn()
    return holding


async def some_turns_of_the_loop() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize("standby", [None, ME], ids=["handed back", "exchanged for the standby's place"])
async def test_who_leaves_while_a_partition_is_handed_over_finishes_its_turns(
    bus: MemoryBus, standby: WorkerId | None
) -> None:
    """A rolling restart just after another worker came: its channel was closed in the middle of a turn."""
    holdings = holdings_on(bus)
    holding = await at_work(bus, holdings)
    lease = holding.lease
    await holdings.apply({ONE: Assignment(owner=OTHER, standby=standby)}, (READY,))
    await some_turns_of_the_loop()
    leaving = asyncio.create_task(holdings.hand_back_all(within=PATIENCE))
    await some_turns_of_the_loop()
    assert await consumers(bus) == 1, "nobody else gets its deliveries yet"
    assert lease.valid
    holding.end_turn()
    async with asyncio.timeout(PATIENCE):
        await leaving
    assert await consumers(bus) == 0, "and it is not taken up again"
    assert list(holdings) == []
    assert not lease.valid


async def test_a_turn_that_does_not_end_is_left_at_the_deadline(bus: MemoryBus) -> None:
    holdings = holdings_on(bus)
    await at_work(bus, holdings)
    await holdings.apply({ONE: Assignment(owner=OTHER, standby=ME)}, (READY,))
    await some_turns_of_the_loop()
    async with asyncio.timeout(PATIENCE):
        await holdings.hand_back_all(within=0.05)
    assert await consumers(bus) == 0
    assert list(holdings) == []


async def test_who_leaves_while_a_partition_is_being_taken_up_does_not_get_it(
    bus: MemoryBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()

    async def never(*_: object, **__: object) -> None:
        asked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(bus, "consume", never)
    monkeypatch.setattr("agentbus.workers.session.holdings.OPENING_SECONDS", 0.05)
    holdings = holdings_on(bus)
    await holdings.apply(MINE, ())
    await asked.wait()
    async with asyncio.timeout(PATIENCE):
        await holdings.hand_back_all(within=PATIENCE)
    assert list(holdings) == []
    monkeypatch.undo()
    await holdings.apply(MINE, ())
    assert list(holdings) == [], "nor anything later"
