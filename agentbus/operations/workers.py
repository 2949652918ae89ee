"""Who is at work, of every kind, whose each partition is, and having one go to another worker."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from agentbus.composition.app import App
from agentbus.contracts.errors import HandBackRefused, PartitionNotFound, SchemaViolation, WorkerNotFound
from agentbus.contracts.ids import Partition
from agentbus.contracts.members import (
    HANDED_SECONDS,
    MAX_HANDED_SECONDS,
    HandBack,
    Member,
    WorkerId,
    WorkerKind,
    WorkerStatus,
)
from agentbus.settings import Settings
from agentbus.storage.port import Store
from agentbus.workers.domain.assignment import heir, ranges
from agentbus.workers.session.hand_backs import HandBacks

__all__ = ["PartitionAtWork", "hand_back", "hand_backs", "live_workers", "partitions", "ranges", "session_workers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionAtWork:
    """A partition, and whose it is."""

    partition: Partition
    owners: Sequence[WorkerId]
    """Nobody: what is published to it waits. For a moment it may be two, while one hands it to the other."""
    stands_by: Sequence[WorkerId]
    stopped: bool
    """Whether its owner stopped it for a while after too many failures."""
    hand_back: HandBack | None
    """That somebody had it handed to another worker, if that holds."""


async def live_workers(store: Store, settings: Settings) -> dict[WorkerKind, list[Member]]:
    """Return the live workers of each kind; an empty list for a kind of which nobody is there. Raises StoreError."""
    prefix, ttl = settings.bus.prefix, settings.session.worker_ttl
    return {kind: await store.members.live(kind.group(prefix), ttl=ttl) for kind in WorkerKind}


async def session_workers(app: App) -> list[Member]:
    """Return the live session workers. Raises StoreError."""
    settings = app.settings
    return await app.store.members.live(WorkerKind.SESSION.group(settings.bus.prefix), ttl=settings.session.worker_ttl)


async def hand_backs(app: App) -> list[HandBack]:
    """Return the hand-backs that somebody asked for and that hold, by partition. Raises StoreError."""
    return await _asked(app).current()


async def partitions(app: App, members: Sequence[Member]) -> list[PartitionAtWork]:
    """Return all partitions, by what the session workers `members` say with their heartbeats. Raises StoreError."""
    asked = {one.partition: one for one in await hand_backs(app)}
    return [
        PartitionAtWork(
            partition=number,
            owners=[one.worker_id for one in members if number in one.owns],
            stands_by=[one.worker_id for one in members if number in one.stands_by],
            stopped=any(number in one.stopped for one in members),
            hand_back=asked.get(number),
        )
        for number in app.settings.topology.all_partitions()
    ]


async def hand_back(app: App, partition: int, *, to: str | None = None, seconds: float = HANDED_SECONDS) -> HandBack:
    """Have a partition's owner hand it to another session worker: `to`, or who stands next in line for it.

    Its owner learns of it with its next heartbeat. Once the other has subscribed, it takes nothing new, finishes what
    it has begun, and closes its channel; order holds, and nothing is lost. For so many `seconds` the partition is the
    other's, while that worker is at work; from then on hashing decides again. Asking again while it moves changes
    nothing, unless `to` is another; asking for the same worker once it has moved makes it last from then on.

    Raises PartitionNotFound; WorkerNotFound if no session worker `to` is at work, or is about to end; HandBackRefused
    if everything runs in one process, nobody owns the partition just now, nobody else is there, or it is that worker's
    anyhow; SchemaViolation for more than a week, or less than a second; StoreError.
    """
    if not 1 <= seconds <= MAX_HANDED_SECONDS:
        raise SchemaViolation(f"a hand-back lasts from 1 second to {MAX_HANDED_SECONDS:.0f}")
    known = app.settings.topology.partitions
    if not 0 <= partition < known:
        raise PartitionNotFound(f"there is no partition {partition}: they are 0 to {known - 1}")
    if app.alone:
        raise HandBackRefused("everything runs in this one process: there is no other worker")
    number, members = Partition(partition), await session_workers(app)
    running = [one.worker_id for one in members if one.status is WorkerStatus.RUNNING]
    if to is not None and to not in running:
        raise WorkerNotFound(f"no session worker {to} is at work, or it is about to end: see `agentbus workers list`")
    owners = [one.worker_id for one in members if number in one.owns]
    earlier = next((one for one in await hand_backs(app) if one.partition == number and one.to in running), None)
    if earlier and owners != [earlier.to] and to in (None, earlier.to):
        return earlier  # it is on its way
    if earlier and to == earlier.to:
        owner, taker = earlier.owner, earlier.to
    else:
        owner, taker = _from_whom_to_whom(number, owners, running, to)
    now = app.clock.now()
    asked = HandBack(partition=number, owner=owner, to=taker, asked_at=now, until=now + timedelta(seconds=seconds))
    await _asked(app).ask(asked)
    return asked


def _from_whom_to_whom(
    partition: Partition, owners: Sequence[WorkerId], running: Sequence[WorkerId], to: str | None
) -> tuple[WorkerId, WorkerId]:
    if not owners:
        raise HandBackRefused(
            f"nobody owns partition {partition} at the moment: who comes next takes it by itself, within seconds"
        )
    owner = owners[0]
    if to == owner:
        raise HandBackRefused(f"{to} owns partition {partition} already")
    taker = heir(partition, owner, running) if to is None else WorkerId(to)
    if taker is None:
        raise HandBackRefused(f"no other session worker is at work that could take partition {partition} from {owner}")
    return owner, taker


def _asked(app: App) -> HandBacks:
    return HandBacks(app.store, app.settings.bus.prefix, app.clock)
