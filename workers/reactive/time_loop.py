"""What a reactive worker watches by time: its share of the partitions, and what comes due in them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from agentbus.contracts.clock import Clock
from agentbus.contracts.ids import Partition
from agentbus.contracts.members import Member
from agentbus.contracts.telemetry import Action
from agentbus.storage.log_lines import Logger
from agentbus.storage.port import Store
from agentbus.workers.concurrency import ended, raise_if_cancelled
from agentbus.workers.delivery.presence import Presence
from agentbus.workers.delivery.retry import keep_trying
from agentbus.workers.domain.assignment import assign
from agentbus.workers.faults import told
from agentbus.workers.outages import PartitionLog

_LONGEST_PAUSE: Final = 5.0
"""Seconds before a turn that failed unexpectedly is tried again."""

_log = Logger(__name__)


class Share:
    """The partitions that this instance watches, by heartbeats in a group of their own.

    All instances together watch all partitions. For as long as a heartbeat takes to get around, two may watch the same
    one: what they do has to be harmless when it is done twice. An instance that is alone watches everything.
    """

    def __init__(
        self, store: Store, group: str, partitions: int, *, clock: Clock, interval: float = 1.0, ttl: float = 4.0
    ) -> None:
        self._partitions = partitions
        self._watched: frozenset[Partition] = frozenset()
        self._alone = False
        self._presence = Presence(
            store,
            group,
            clock=clock,
            interval=interval,
            ttl=ttl,
            owns=lambda: self._watched,
            on_members=self._on_members,
        )
        self._log_partitions = PartitionLog(self._presence.worker_id)

    @property
    def partitions(self) -> frozenset[Partition]:
        """The partitions watched."""
        return self._watched

    @property
    def groups(self) -> frozenset[str] | None:
        """The groups of the records that are this instance's; None: all of them."""
        return None if self._alone else frozenset(str(partition) for partition in self._watched)

    @property
    def leads(self) -> bool:
        """Whether this instance does what is done once for all: the one that watches partition 0."""
        return Partition(0) in self._watched

    @property
    def joined(self) -> bool:
        """Whether the others know of this instance."""
        return self._presence.joined

    def describe(self) -> Member:
        """Return what this instance tells the others about itself."""
        return self._presence.describe()

    async def start(self) -> None:
        """Join the others."""
        await self._presence.start()

    async def close(self) -> None:
        """Leave the others. Idempotent."""
        await self._presence.close()
        self._watched, self._alone = frozenset(), False

    async def _on_members(self, members: list[Member]) -> None:
        me = self._presence.worker_id
        workers = {member.worker_id for member in members}
        self._alone = workers == {me}
        assigned = assign(self._partitions, workers)
        self._watched = frozenset(one for one, workers in assigned.items() if workers.owner == me)
        self._log_partitions.now(self._watched)


class TimeLoop:
    """Takes a turn, and the next one at once while there is more to do, otherwise after `interval` seconds.

    A turn returns whether there is more. Store and broker are waited out; a turn that fails for another reason is
    reported and tried again: one bad record must not end the watch.
    """

    def __init__(self, name: str, turn: Callable[[], Awaitable[bool]], *, interval: float) -> None:
        self._name = name
        self._turn = turn
        self._interval = interval
        self._task: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """Whether it takes turns."""
        return self._task is not None and not self._task.done()

    async def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run(), name=self._name)

    async def close(self) -> None:
        """Stop, in the middle of a turn if need be. Idempotent."""
        task, self._task = self._task, None
        if task:
            await ended({task})

    async def _run(self) -> None:
        while True:
            try:
                more = await keep_trying(self._name, self._turn)
            except Exception as error:
                raise_if_cancelled()
                _log.error(Action.WATCH_FAILED, watch=self._name, **told(error))
                more = False
                await asyncio.sleep(_LONGEST_PAUSE)
            if not more:
                await asyncio.sleep(self._interval)
