"""How an installation is doing, at a glance: what there is, what waits, who is at work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agentbus.composition.app import App
from agentbus.composition.workers import make_sync
from agentbus.contracts.history import SessionFilter
from agentbus.contracts.members import Member, WorkerKind
from agentbus.contracts.parked import ParkedStatus
from agentbus.contracts.records import RecordKind, SessionStatistics
from agentbus.operations.workers import live_workers
from agentbus.workers.bus.port import QueueDepth
from agentbus.workers.outbound.outbox import UNKNOWN_GROUP

MOST_COUNTED: Final = 100
"""Of what waits for somebody so many are counted: more are as many as anybody wants to know of."""


@dataclass(frozen=True, slots=True)
class AtLeast:
    """How many there are, or that there are more than were counted."""

    count: int
    more: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What waits for somebody to decide."""

    parked: AtLeast
    unknown: AtLeast
    """Replies of which nobody knows whether they were sent."""
    conflicts: AtLeast
    """Sessions with open conflicts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What waits to be worked on."""

    ready: int
    """Inputs on the partitions' queues and the ingress that no worker has yet."""
    fullest: Sequence[tuple[str, QueueDepth]]
    """The queues that most wait on, and those without a consumer."""


async def statistics(app: App) -> SessionStatistics:
    """Return figures of all sessions. Raises StoreError."""
    return await app.store.heads.statistics(SessionFilter())


async def waiting(app: App) -> Waiting:
    """Return what waits for somebody. Raises StoreError."""
    parked = await app.store.parked.page(ParkedStatus.PARKED, limit=MOST_COUNTED)
    unknown = await app.store.records.page(RecordKind.OUTBOX, UNKNOWN_GROUP, limit=MOST_COUNTED)
    conflicts = await make_sync(app).conflicts.sessions(None, limit=MOST_COUNTED)
    return Waiting(
        parked=AtLeast(len(parked.items), parked.cursor is not None),
        unknown=AtLeast(len(unknown.items), unknown.cursor is not None),
        conflicts=AtLeast(len(conflicts.items), conflicts.cursor is not None),
    )


async def backlog(app: App, *, shown: int = 8) -> Backlog:
    """Return what waits on the queues. Raises Unroutable if they were never declared, BusError."""
    topology = app.bus.topology
    queues = [topology.ingress, *(topology.partition_queue(one) for one in topology.all_partitions())]
    depths = [(queue, await app.bus.depth(queue)) for queue in queues]
    worst = sorted(depths, key=lambda one: (one[1].consumers > 0, -one[1].ready))
    return Backlog(
        ready=sum(depth.ready for _, depth in depths),
        fullest=[(queue, depth) for queue, depth in worst[:shown] if depth.ready or not depth.consumers],
    )


async def workers(app: App) -> Mapping[WorkerKind, Sequence[Member]]:
    """Return who is at work. Raises StoreError."""
    return await live_workers(app.store, app.settings)
