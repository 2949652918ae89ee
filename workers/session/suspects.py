"""Reading what may kill by being read: counted in the store first, in the order of its partition."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from agentbus.contracts.errors import KilledWorker
from agentbus.contracts.ids import Partition
from agentbus.contracts.telemetry import Action
from agentbus.storage.log_lines import Logger
from agentbus.storage.port import Store
from agentbus.workers.bus.port import Delivery
from agentbus.workers.concurrency import SharedLock, ended, raise_if_cancelled
from agentbus.workers.delivery.retry import keep_trying
from agentbus.workers.delivery.trials import PoisonTrials, is_suspect, key_unread
from agentbus.workers.faults import told
from agentbus.workers.session.holdings import Holding
from agentbus.workers.session.lanes import Lease, Turn, Waiting

_TOGETHER: Final = 100
"""Inputs whose tries are counted side by side."""

_log = Logger(__name__)


@dataclass(frozen=True, slots=True)
class _Unread:
    """A delivery that nobody has looked into yet."""

    holding: Holding
    lease: Lease
    delivery: Delivery

    @property
    def key(self) -> str:
        """What names it without reading it."""
        return key_unread(self.delivery)

    @property
    def is_ours(self) -> bool:
        """Whether it is still to be read here: else it is delivered again."""
        return self.lease.valid and self.holding.takes


class Suspects:
    """Reads inputs that were delivered again and again, and in their order whatever comes behind them.

    What keeps the loop standing for so long that its partition is lost counts like the end of the process: it is
    delivered again to the next worker, which it would stop as well. What is tried alone is tried while nothing else is
    read or carried out, of any partition: it holds `company` for itself.
    """

    def __init__(
        self,
        store: Store,
        read: Callable[[Holding, Delivery], None],
        park: Callable[[Holding, Delivery, Exception], Awaitable[None]],
        stalled: Callable[[], bool],
        company: SharedLock,
    ) -> None:
        self._store = store
        self._read = read
        self._park = park
        self._stalled = stalled
        self._company = company
        self._waiting: list[_Unread] = []
        self._unread: Counter[Partition] = Counter()
        self._task: asyncio.Task[None] | None = None

    def are_before(self, partition: Partition) -> bool:
        """Whether something of the partition waits to be read, so that what comes now must wait behind it."""
        return partition in self._unread

    def push(self, holding: Holding, delivery: Delivery) -> None:
        """Take a suspect, or what comes behind one."""
        self._waiting.append(_Unread(holding, holding.lease, delivery))
        self._unread[holding.partition] += 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="read suspects")

    def drop(self) -> None:
        """Forget what is not to be read here any more."""
        gone = [one for one in self._waiting if not one.is_ours]
        self._waiting = [one for one in self._waiting if one.is_ours]
        self._forget(gone)

    async def close(self) -> None:
        """Stop, in the middle of it if need be: what was not acknowledged is delivered again. Idempotent."""
        await ended({self._task} if self._task else ())

    async def _run(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:_TOGETHER], self._waiting[_TOGETHER:]
            for one in batch:
                one.holding.begin_turn()
            try:
                await self._try(batch)
            finally:
                self._forget(batch)
                for one in batch:
                    one.holding.end_turn()

    async def _try(self, batch: Sequence[_Unread]) -> None:
        trials = PoisonTrials(self._store)
        left = list(batch)
        try:
            keys = [one.key for one in batch if is_suspect(one.delivery)]
            await keep_trying("begin trials", trials.begin, keys)
            while left:
                if not await self._try_one(left.pop(0), trials):
                    return
            await keep_trying("end trials", trials.end)
        except Exception as error:
            # Nothing that a store is known to fail with. What is not read by now is read uncounted, to keep the order.
            raise_if_cancelled()
            _log.error(Action.ROUND_FAILED, turns=len(left), **told(error))
            for one in left:
                self._look_into(one)

    async def _try_one(self, one: _Unread, trials: PoisonTrials) -> bool:
        """Read one, alone if need be; return whether that was survived."""
        if not (is_suspect(one.delivery) and trials.must_be_alone(one.key)):
            async with self._company.shared():
                return self._survived(one)
        async with self._company.exclusive():
            try:
                await keep_trying("begin trial", trials.begin_alone, one.key)
            except KilledWorker as error:
                if one.is_ours:
                    await self._park(one.holding, one.delivery, error)
            else:
                if not self._survived(one):
                    return False
            await keep_trying("end trial", trials.end_alone, one.key)
        return True

    def _survived(self, one: _Unread) -> bool:
        self._stalled()  # whatever that was, it was not this one
        self._look_into(one)
        return not self._stalled()

    def _look_into(self, one: _Unread) -> None:
        if one.is_ours:
            self._read(one.holding, one.delivery)

    def _forget(self, gone: Sequence[_Unread]) -> None:
        self._unread -= Counter(one.holding.partition for one in gone)


def suspects_of(turns: Sequence[Turn]) -> list[str]:
    """Return the keys of those inputs whose tries are counted."""
    return [key_of(turn, waiting) for turn in turns for waiting in turn.inputs if is_suspect(waiting.delivery)]


def key_of(turn: Turn, waiting: Waiting) -> str:
    """Return the key of an input that was read."""
    return f"{turn.lane.conversation}/{waiting.given.id}"
