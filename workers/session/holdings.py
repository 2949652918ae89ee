"""The partitions that this worker consumes or stands by for, and how it takes them up and hands them back."""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Final

from agentbus.contracts.errors import BusError, StoreError
from agentbus.contracts.ids import Partition
from agentbus.contracts.members import Member, WorkerId
from agentbus.contracts.telemetry import Action
from agentbus.storage.log_lines import Logger
from agentbus.workers.bus.port import Bus, Delivery
from agentbus.workers.bus.supervision import SupervisedConsumer
from agentbus.workers.concurrency import all_of, ended, in_turn, side_by_side
from agentbus.workers.domain.assignment import Assignment
from agentbus.workers.faults import told
from agentbus.workers.outages import Trouble
from agentbus.workers.session.lanes import Lease
from agentbus.workers.worker import HAND_BACK_SECONDS

OWNER_PRIORITY: Final = 10
"""From RabbitMQ 4.0 on the owner goes before those that stand by, whoever subscribed first."""

OPENING_SECONDS: Final = 2.0
"""Seconds that the heartbeat waits for subscriptions; they go on after it."""

_log = Logger(__name__)


class Holding:
    """One partition in this worker's hands."""

    def __init__(self, partition: Partition, queue: str, *, owner: bool) -> None:
        self.partition = partition
        self.queue = queue
        self.owner = owner
        self.preferred = owner
        """Whether it was subscribed as the owner's: the broker takes it before others, also when they own it."""
        self.lease = Lease(partition)
        self.subscribed = False
        self.active = False
        """Deliveries have come since it was subscribed: the broker takes us for the one that consumes."""
        self.taken = 0
        """Deliveries that have come since it was taken up."""
        self.closing = False
        self.stopped = False
        """Too many inputs failed in a row by no fault of theirs: nothing more is taken for a while."""
        self.consumer: SupervisedConsumer | None = None
        self._turns = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def takes(self) -> bool:
        """Whether deliveries are worked on."""
        return not (self.closing or self.stopped)

    def end_lease(self) -> None:
        """Let what came so far not be worked on any more; what comes from now on has a lease of its own."""
        self.lease.valid = False
        self.lease = Lease(self.partition)

    def begin_turn(self) -> None:
        """Count a turn that is being worked on."""
        self._turns += 1
        self._idle.clear()

    def end_turn(self) -> None:
        """Count a turn that is over."""
        self._turns -= 1
        if not self._turns:
            self._idle.set()

    async def until_idle(self) -> None:
        """Wait until none of its turns is being worked on."""
        await self._idle.wait()


class Holdings:
    """Brings what this worker holds in line with what it is assigned; never two changes of a partition at a time.

    Handing back: take nothing new (`drop` what waits), finish the turns under way, close the channel. What was
    delivered and not begun goes back to the queue in its order, to the next consumer. `forget` all when it is over.
    """

    def __init__(
        self,
        bus: Bus,
        me: WorkerId,
        *,
        prefetch: int,
        on_delivery: Callable[[Holding, Delivery], None],
        drop: Callable[[Holding], None],
        forget: Callable[[Holding], None],
    ) -> None:
        self._bus = bus
        self._me = me
        self._prefetch = prefetch
        self._on_delivery = on_delivery
        self._drop = drop
        self._forget = forget
        self._held: dict[Partition, Holding] = {}
        self._changes: dict[Partition, asyncio.Task[None]] = {}
        self._opening: set[Partition] = set()  # those whose change is subscribing just now
        self._leaving = False
        self._trouble = Trouble("take up or hand back partitions")

    def __iter__(self) -> Iterator[Holding]:
        return iter(list(self._held.values()))

    def get(self, partition: Partition) -> Holding | None:
        """Return what is held of a partition."""
        return self._held.get(partition)

    @property
    def are_closing(self) -> bool:
        """Whether a partition is handed back once its turns under way are over."""
        return any(holding.closing for holding in self._held.values())

    async def apply(self, assigned: Mapping[Partition, Assignment], members: Collection[Member]) -> None:
        """Begin the changes that `assigned` asks for, and wait for those that only subscribe."""
        ready = {(member.worker_id, partition) for member in members for partition in member.owns}
        for partition, one in assigned.items():
            if partition not in self._changes:
                self._change(partition, one, owner_is_ready=(one.owner, partition) in ready)
        if not self._changes:
            self._trouble.over()
        opening = [task for partition, task in self._changes.items() if not self._is_held(partition)]
        if opening:
            await asyncio.wait(opening, timeout=OPENING_SECONDS)

    async def release_all(self) -> None:
        """Let go of every partition at once, in the middle of whatever is under way: others may do better."""
        for holding in self:
            holding.closing = True
            self._forget(holding)
        await self._end_all()

    async def hand_back_all(self, *, within: float = HAND_BACK_SECONDS) -> None:
        """Hand every partition back, all at the same time, for good; turns under way may take `within` seconds.

        One that is being handed back already goes on being so: cancelled, it would let go in the middle of a turn.
        """
        self._leaving = True
        for holding in self:
            self._stop_taking(holding)
        await in_turn(
            lambda: ended(change for partition, change in self._changes.items() if partition in self._opening),
            partial(self._hand_back_each, within),
            lambda: ended(self._changes.values()),
            self._end_all,
        )
        self._trouble.over()

    async def _hand_back_each(self, within: float) -> None:
        await side_by_side(self._hand_back(holding, within) for holding in self)

    async def _end_all(self) -> None:
        await all_of(self._end(holding) for holding in self)

    async def reopen(self, partition: Partition) -> None:
        """Let go of a partition's channel and subscribe again, at the end of the line."""
        holding = self._held.get(partition)
        if holding and holding.consumer and not holding.closing:
            await holding.consumer.reopen()

    def _change(self, partition: Partition, one: Assignment, *, owner_is_ready: bool) -> None:
        holding = self._held.get(partition)
        mine, wanted = one.owner == self._me, self._me in (one.owner, one.standby)
        if holding is None:
            if wanted:
                self._begin(partition, self._take_up(partition, owner=mine))
        elif mine:
            if not holding.owner and not holding.active:
                self._begin(partition, self._exchange(holding, owner=True))
            holding.owner = True
        else:
            holding.owner = False
            # While the new owner is not there yet, the conversations go on here.
            if owner_is_ready and (holding.active or holding.preferred or not wanted):
                self._begin(partition, self._exchange(holding, owner=False) if wanted else self._hand_back(holding))

    def _begin(self, partition: Partition, change: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(change)
        self._changes[partition] = task
        task.add_done_callback(partial(self._ended, partition))

    def _ended(self, partition: Partition, task: "asyncio.Task[None]") -> None:
        del self._changes[partition]
        if task.cancelled():
            return
        match task.exception():
            case None:
                self._trouble.over()
            case StoreError() | BusError() as error:
                self._trouble.failed(error)
            case error:
                _log.error(Action.PARTITION_CHANGE_FAILED, partition=partition, **told(error))

    async def _take_up(self, partition: Partition, *, owner: bool) -> None:
        if self._leaving:
            return
        holding = Holding(partition, self._bus.topology.partition_queue(partition), owner=owner)
        holding.consumer = SupervisedConsumer(
            holding.queue,
            partial(
                self._bus.consume,
                holding.queue,
                partial(self._on_delivery, holding),
                prefetch=self._prefetch,
                priority=OWNER_PRIORITY if owner else 0,
            ),
            on_lost=partial(self._lost, holding),
        )
        self._held[partition] = holding
        self._opening.add(partition)
        try:
            await holding.consumer.start()
        except BaseException:
            del self._held[partition]
            raise
        finally:
            self._opening.discard(partition)
        holding.subscribed = True

    def _stop_taking(self, holding: Holding) -> None:
        holding.closing = True
        holding.subscribed = False
        self._drop(holding)

    async def _hand_back(self, holding: Holding, within: float = HAND_BACK_SECONDS) -> None:
        self._stop_taking(holding)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(within):
                    await holding.until_idle()
        finally:
            await self._end(holding)

    async def _end(self, holding: Holding) -> None:
        holding.subscribed = False
        try:
            if holding.consumer:
                await holding.consumer.close()
        finally:
            self._forget(holding)
            if self._held.get(holding.partition) is holding:
                del self._held[holding.partition]

    def _is_held(self, partition: Partition) -> bool:
        holding = self._held.get(partition)
        return holding is not None and holding.subscribed

    async def _exchange(self, holding: Holding, *, owner: bool) -> None:
        """Hand back and subscribe again, behind whoever stands in line."""
        await self._hand_back(holding)
        await self._take_up(holding.partition, owner=owner)

    def _lost(self, holding: Holding) -> None:
        holding.active = False
        self._forget(holding)
