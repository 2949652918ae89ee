"""Ownership: which partitions are this worker's, since which epoch, and what happens when one is lost."""

import asyncio
import os
import socket
from collections import defaultdict
from collections.abc import Callable, Collection, Coroutine
from datetime import timedelta
from functools import partial
from typing import Final
from uuid import uuid4

from agentbus.contracts.clock import Clock
from agentbus.contracts.errors import AgentBusError, StoreError
from agentbus.contracts.ids import ConversationId, Partition
from agentbus.contracts.members import HandBack, Member, WorkerId, WorkerStatus
from agentbus.contracts.telemetry import Action
from agentbus.storage.log_lines import Logger
from agentbus.storage.port import Store
from agentbus.workers.bus.port import Bus, Delivery
from agentbus.workers.concurrency import ended, in_turn, raise_if_cancelled, side_by_side
from agentbus.workers.delivery.loop_watch import LoopWatch
from agentbus.workers.delivery.membership import Membership
from agentbus.workers.domain.assignment import assign
from agentbus.workers.outages import PartitionLog, Trouble
from agentbus.workers.session.brake import Brake
from agentbus.workers.session.hand_backs import HandBacks
from agentbus.workers.session.holdings import Holding, Holdings
from agentbus.workers.session.lanes import Lease
from agentbus.workers.worker import HAND_BACK_SECONDS

FRESH_BEATS: Final = 2
"""Heartbeats that a member may have missed to still count as there."""

_log = Logger(__name__)


class Ownership:
    """Decides with the other workers who owns what, takes up and hands back partitions, and knows their epochs.

    An epoch numbers the ownerships of a partition, over all workers. It is taken with the first turn after subscribing
    and stands in every commit; whoever finds a later one in a conversation has lost the partition.
    """

    def __init__(
        self,
        bus: Bus,
        store: Store,
        clock: Clock,
        *,
        prefetch: int,
        interval: float,
        ttl: float,
        stall_limit: float,
        park_limit: int,
        embedded: bool,
        on_delivery: Callable[[Holding, Delivery], None],
        drop: Callable[[Holding], None],
        forget: Callable[[Holding], None],
        behind: Callable[[], float],
        commit_lag: Callable[[], float | None],
    ) -> None:
        self.worker_id = WorkerId(f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}")
        self._bus = bus
        self._store = store
        self._group = bus.topology.prefix
        self._clock = clock
        self._behind = behind
        self._commit_lag = commit_lag
        self._started_at = clock.now()
        self._brakes: defaultdict[Partition, Brake] = defaultdict(lambda: Brake(park_limit))
        self._interval = interval
        self._forget_work = forget
        self._status = WorkerStatus.RUNNING
        self._taking = asyncio.Lock()
        self._seen: dict[Partition, int] = {}  # epochs in conversations that were later than our own
        self._reopenings: set[asyncio.Task[None]] = set()
        self._log_partitions = PartitionLog(self.worker_id)
        self.holdings = Holdings(
            bus, self.worker_id, prefetch=prefetch, on_delivery=on_delivery, drop=drop, forget=self._forget
        )
        self._membership = Membership(
            store,
            self._alone(self.worker_id) if embedded else self._group,
            describe=self.describe,
            on_members=self._on_members,
            on_silence=self._on_silence,
            interval=interval,
            ttl=ttl,
        )
        self._hand_backs = HandBacks(store, self._group, clock)
        self._asked: list[HandBack] = []
        self._asking = Trouble("read which partitions are to be handed back")
        self.watch = LoopWatch(stall_limit, self._on_stall)

    async def start(self) -> None:
        """Join the group and take up this worker's share."""
        await self.watch.start()
        await self._membership.start()

    async def hand_back(self, *, within: float = HAND_BACK_SECONDS) -> None:
        """Tell the others, hand every partition back, and leave the group.

        Turns under way may take `within` seconds; then they are left in the middle.
        """
        self._status = WorkerStatus.DRAINING
        await in_turn(
            self._membership.stop,
            self._membership.announce,
            partial(self.holdings.hand_back_all, within=within),
            partial(ended, self._reopenings),
            self._membership.leave,
            self.watch.close,
        )
        self._asking.over()
        self._log_partitions.now(())

    def describe(self) -> Member:
        """Return this worker as its heartbeat tells it."""
        held = sorted(self.holdings, key=lambda holding: holding.partition)
        return Member(
            worker_id=self.worker_id,
            host=socket.gethostname(),
            pid=os.getpid(),
            started_at=self._started_at,
            status=self._status,
            owns=tuple(holding.partition for holding in held if holding.owner and holding.subscribed),
            stands_by=tuple(holding.partition for holding in held if not holding.owner and holding.subscribed),
            stopped=tuple(holding.partition for holding in held if holding.stopped),
            behind=round(self._behind(), 3),
            commit_lag=None if (lag := self._commit_lag()) is None else round(lag, 3),
        )

    def owns(self, conversation: ConversationId) -> bool:
        """Whether the conversation's partition is this worker's, as far as it knows."""
        holding = self.holdings.get(self._bus.topology.partition_of(conversation))
        return holding is not None and holding.subscribed and (holding.owner or holding.active)

    async def lives(self, worker: WorkerId) -> bool:
        """Whether a worker that is alone in its group, as each is on a bus of its own, beats. Raises StoreError."""
        # Not the ttl: who starts again after a kill is waiting for what it owes.
        return bool(await self._store.members.live(self._alone(worker), ttl=(1 + FRESH_BEATS) * self._interval))

    def _alone(self, worker: WorkerId) -> str:
        return f"{self._group}/{worker}"

    async def take_epochs(self, leases: Collection[Lease]) -> None:
        """Give those of `leases` an epoch that have none yet. Raises StoreError."""
        if all(lease.epoch is not None for lease in leases):
            return
        async with self._taking:  # of two rounds that need one, the second finds it taken
            missing = [lease for lease in leases if lease.epoch is None]
            taken = await side_by_side(self._take_epoch(lease.partition) for lease in missing)
            for lease, epoch in zip(missing, taken, strict=True):
                lease.epoch = epoch

    def note_epoch(self, partition: Partition, epoch: int) -> None:
        """Take for the partition an epoch above this one, next time.

        Not every later epoch is a later owner's: each partition counts for itself, and after a change of their number
        or of the prefix a conversation comes from one that had more owners.
        """
        self._seen[partition] = max(epoch, self._seen.get(partition, 0))

    async def _take_epoch(self, partition: Partition) -> int:
        return await self._store.members.take_epoch(self._group, partition, above=self._seen.get(partition, 0))

    def fence(self, partition: Partition) -> None:
        """Give up a partition that somebody else has taken: drop what came by it, and get in line again."""
        holding = self.holdings.get(partition)
        if holding:
            _log.warning(Action.FENCED, partition=partition, epoch=holding.lease.epoch)
            self._forget(holding)
            self._begin(self.holdings.reopen(partition))

    def settled(self, partition: Partition, error: AgentBusError | None = None) -> None:
        """Note that an input was applied, or why it was parked: too many faults of ours stop the partition a while."""
        brake, holding = self._brakes[partition], self.holdings.get(partition)
        if error is None:
            brake.succeeded()
        elif (pause := brake.failed(error)) and holding and not holding.stopped:
            holding.stopped = True
            self._forget(holding)
            _log.error(
                Action.PARTITION_STOPPED,
                partition=partition,
                error=error.code,
                seconds=pause,
                advice="look at `agentbus parked list` and mend the cause; it is tried again by itself",
            )
            self._begin(self._resume(holding, pause))

    async def _resume(self, holding: Holding, pause: float) -> None:
        await asyncio.sleep(pause)
        holding.stopped = False
        _log.info(Action.PARTITION_RESUMED, partition=holding.partition)
        await self.holdings.reopen(holding.partition)

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._reopenings.add(task)
        task.add_done_callback(self._reopenings.discard)

    async def _on_members(self, members: list[Member]) -> None:
        running = [member.worker_id for member in members if member.status is WorkerStatus.RUNNING]
        if self.worker_id in running:
            handed = await self._handed() if len(running) > 1 else {}
            await self.holdings.apply(assign(self._bus.topology.partitions, running, handed), self._fresh(members))
            self._log_partitions.now(self.describe().owns)

    async def _handed(self) -> dict[Partition, WorkerId]:
        """Return which partitions somebody had handed to whom; while the store does not say, what it said last."""
        try:
            self._asked = await self._hand_backs.current()
        except StoreError as error:
            raise_if_cancelled()
            self._asking.failed(error)
        else:
            self._asking.over()
        now = self._clock.now()
        return {one.partition: one.to for one in self._asked if now < one.until}

    def _fresh(self, members: list[Member]) -> list[Member]:
        """Return the members that have just been heard: nothing is handed over to one that may be dead already."""
        heard = [member.seen_at for member in members if member.seen_at]
        oldest = max(heard, default=self._started_at) - FRESH_BEATS * timedelta(seconds=self._interval)
        return [member for member in members if member.seen_at and member.seen_at >= oldest]

    def _on_stall(self, gap: float) -> None:
        _log.error(Action.LOOP_STALLED, seconds=round(gap, 1), partitions=len(list(self.holdings)))
        for holding in self.holdings:
            self.fence(holding.partition)

    async def _on_silence(self) -> None:
        _log.error(Action.PARTITIONS_RELEASED, partitions=len(list(self.holdings)))
        await self.holdings.release_all()

    def _forget(self, holding: Holding) -> None:
        holding.end_lease()
        self._forget_work(holding)
