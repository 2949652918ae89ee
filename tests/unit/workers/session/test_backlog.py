"""How far a worker is behind, told by how much waits, and how much was taken."""

import asyncio
from dataclasses import dataclass, field

import pytest

from agentbus.contracts.errors import BrokerUnavailable, BusError
from agentbus.contracts.ids import Partition
from agentbus.contracts.topology import Topology
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.bus.port import QueueDepth
from agentbus.workers.session.backlog import MOST_MARKS, Arrivals, Backlog
from agentbus.workers.session.holdings import Holding

Look = tuple[float, int, int]
"""When it is looked, how many were taken by then, how many wait."""


@pytest.mark.parametrize(
    ("looks", "taken", "now", "waits"),
    [
        ([], 0, 100.0, 0.0),
        ([(0, 0, 0)], 0, 100.0, 0.0),
        ([(0, 0, 5)], 0, 100.0, 100.0),
        ([(0, 0, 5)], 5, 100.0, 0.0),
        ([(0, 0, 5), (10, 5, 0)], 5, 100.0, 0.0),
        # What comes behind has not waited as long as what was there before, which is taken first.
        ([(0, 0, 5), (10, 3, 9)], 3, 10.0, 10.0),
        ([(0, 0, 5), (10, 3, 9)], 5, 15.0, 5.0),
        ([(0, 0, 5), (10, 3, 9)], 12, 15.0, 0.0),
        # As much is taken as comes: it never gets older than a look.
        ([(10.0 * turn, 100 * turn, 100) for turn in range(9)], 800, 80.0, 0.0),
        # Nothing is taken, little comes: it is as old as the first.
        ([(10.0 * turn, 0, 1 + turn) for turn in range(9)], 0, 80.0, 80.0),
        # Somebody purged the queue: what is left may be as old as it was.
        ([(0, 0, 50), (10, 0, 60), (20, 0, 3)], 0, 30.0, 30.0),
        # What was in hand when the connection went waits again.
        ([(0, 10, 0), (10, 10, 10)], 10, 12.0, 2.0),
    ],
)
def test_what_waits_is_as_old_as_it_was_seen_to_be(looks: list[Look], taken: int, now: float, waits: float) -> None:
    arrivals = Arrivals()
    for when, by_then, ready in looks:
        arrivals.look(by_then, ready, when)
    assert arrivals.waits(taken, now) == waits


def test_a_queue_that_stands_still_for_days_takes_no_more_room() -> None:
    arrivals = Arrivals()
    for turn in range(20_000):
        arrivals.look(0, turn + 1, 10.0 * turn)
    assert len(arrivals._marks) <= MOST_MARKS
    assert arrivals.waits(0, 200_000.0) == 200_000.0
    assert arrivals.waits(19_999, 200_000.0) == 10.0


@dataclass
class Queues(MemoryBus):
    """A bus that tells of its queues what a test says."""

    ready: dict[str, int | BusError] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(Topology(partitions=4))

    async def depth(self, queue: str) -> QueueDepth:
        self.asked.append(queue)
        found = self.ready[queue]
        if isinstance(found, BusError):
            raise found
        return QueueDepth(ready=found, consumers=1)


def a_holding(partition: int, *, active: bool = True) -> Holding:
    holding = Holding(Partition(partition), f"q{partition}", owner=True)
    holding.active = active
    return holding


async def test_the_oldest_of_all_queues_counts_and_those_of_others_are_not_looked_at() -> None:
    now = 0.0
    bus = Queues(ready={"q0": 3, "q1": BrokerUnavailable("away"), "q2": 0})
    holdings = [a_holding(0), a_holding(1), a_holding(2), a_holding(3, active=False)]
    backlog = Backlog(bus, holdings, time=lambda: now)
    assert backlog.seconds == 0
    await backlog.look()
    assert bus.asked == ["q0", "q1", "q2"]
    now = 10.0
    bus.ready |= {"q1": 1}
    await backlog.look()
    now = 12.0
    assert backlog.seconds == 12.0
    holdings[0].taken = 3
    assert backlog.seconds == 2.0
    holdings[1].active = False  # it was lost: whoever has it tells of it
    assert backlog.seconds == 0
    holdings.clear()
    await backlog.look()
    assert backlog._arrivals == {}


async def test_looking_ends_when_it_is_told_to_in_the_middle_of_a_look() -> None:
    asked = asyncio.Event()

    class Silent(MemoryBus):
        async def depth(self, queue: str) -> QueueDepth:  # noqa: ARG002 - it never answers
            asked.set()
            return await asyncio.Event().wait()  # type: ignore[return-value] # it does not return

    backlog = Backlog(Silent(Topology(partitions=4)), [a_holding(0)])
    await backlog.start()
    await asked.wait()
    await backlog.close()
    await backlog.close()
