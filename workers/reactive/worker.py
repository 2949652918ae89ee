"""What reactive workers have in common: events, a share of the partitions, and what comes due in it."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Protocol

from agentbus.contracts.members import WorkerKind
from agentbus.contracts.telemetry import Action
from agentbus.storage.log_lines import Logger
from agentbus.workers.concurrency import in_turn
from agentbus.workers.delivery.loop_watch import STALL_LIMIT, LoopWatch
from agentbus.workers.delivery.telemetry import WorkerMetrics
from agentbus.workers.reactive.time_loop import Share, TimeLoop
from agentbus.workers.worker import HAND_BACK_SECONDS, Health, Worker

_log = Logger(__name__)


class Events(Protocol):
    """Events on their way to a handler."""

    async def start(self) -> None:
        """Begin to hand them over."""

    async def close(self) -> None:
        """End it: what is being handled is finished within some seconds, or comes again. Idempotent."""


class ReactiveWorker(Worker):
    """Handles events, and takes turns at what is due in its share; what it decides goes to the sessions' owners.

    What was begun and not finished when it ends is done again, by another instance or at the next start.
    """

    def __init__(
        self,
        kind: WorkerKind,
        share: Share,
        *,
        events: Sequence[Events],
        loops: Sequence[TimeLoop],
        metrics: WorkerMetrics,
    ) -> None:
        self._kind = kind
        self._share = share
        self._events = events
        self._loops = loops
        self._watch = LoopWatch(STALL_LIMIT, lambda _: None)
        self._ended = asyncio.Event()
        metrics.owned.labels(kind).set_function(lambda: len(share.partitions))

    async def start(self) -> None:
        self._ended.clear()
        try:
            await self._watch.start()
            await self._prepare()
            await self._share.start()
            for part in (*self._events, *self._loops):
                await part.start()
        except BaseException:
            await self.close()
            raise
        _log.info(Action.WORKER_STARTED, worker=str(self._kind))

    async def wait(self) -> None:
        await self._ended.wait()

    async def drain(self, *, within: float = HAND_BACK_SECONDS) -> None:  # noqa: ARG002 - each part has its own limit
        loops = (loop.close for loop in reversed(self._loops))
        events = (one.close for one in reversed(self._events))
        await in_turn(*loops, self._finish, *events)

    async def close(self, *, within: float = HAND_BACK_SECONDS) -> None:
        try:
            await in_turn(partial(self.drain, within=within), self._share.close, self._let_go, self._watch.close)
        finally:
            self._ended.set()
        _log.info(Action.WORKER_CLOSED, worker=str(self._kind))

    def health(self) -> Health:
        lag = self._watch.lag
        at_work = all(loop.running for loop in self._loops)
        live = at_work and lag < STALL_LIMIT
        return Health(live=live, ready=live and self._share.joined, lag=lag, member=self._share.describe())

    async def _prepare(self) -> None:
        """Do what comes before everything else."""

    async def _finish(self) -> None:
        """Finish what turns have begun, within some seconds."""

    async def _let_go(self) -> None:
        """Let go of what `_prepare` took."""
