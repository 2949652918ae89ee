"""Inputs that can't be read, or came to the wrong place: parked together, beside the rounds."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final

from agentbus.contracts.errors import InstallationMismatch, WrongPartition
from agentbus.contracts.telemetry import Action
from agentbus.storage.log_lines import Logger
from agentbus.storage.port import Store
from agentbus.workers.bus.port import Bus, Delivery
from agentbus.workers.concurrency import ended, raise_if_cancelled
from agentbus.workers.delivery.failures import failure_of
from agentbus.workers.delivery.parking import Failed, park_all
from agentbus.workers.delivery.retry import keep_trying
from agentbus.workers.delivery.telemetry import WorkerMetrics
from agentbus.workers.faults import told
from agentbus.workers.installation.joining import check_installation
from agentbus.workers.session.holdings import Holding
from agentbus.workers.session.ownership import Ownership

_TOGETHER: Final = 100
"""Inputs that are parked with one wait for their confirms: what is parked must cost less than what is committed."""

_Waiting = tuple[Holding, Failed]

_log = Logger(__name__)


class Unreadable:
    """Parks what the worker could not read: all that has come by now, in its order. A turn is counted for each."""

    def __init__(self, bus: Bus, store: Store, ownership: Ownership, *, metrics: WorkerMetrics) -> None:
        self._bus = bus
        self._store = store
        self._ownership = ownership
        self._metrics = metrics
        self._waiting: list[_Waiting] = []
        self._task: asyncio.Task[None] | None = None

    def push(self, holding: Holding, delivery: Delivery, error: Exception) -> None:
        """Take an input that is to be parked."""
        holding.begin_turn()
        self._waiting.append((holding, Failed(delivery, failure_of(error))))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="park what can't be read")

    async def park(self, holding: Holding, delivery: Delivery, error: Exception) -> None:
        """Park one by itself, now. If that can't be done it is left, and the log says so."""
        await self._park([(holding, Failed(delivery, failure_of(error)))])

    async def close(self) -> None:
        """Stop, in the middle of it if need be: what was not acknowledged is delivered again. Idempotent."""
        await ended({self._task} if self._task else ())

    async def _run(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:_TOGETHER], self._waiting[_TOGETHER:]
            try:
                await self._park(batch)
            finally:
                for holding, _ in batch:
                    holding.end_turn()

    async def _park(self, batch: Sequence[_Waiting]) -> None:
        try:
            await self._park_together(batch)
        except Exception as error:
            raise_if_cancelled()
            left = [one for one in batch if not one[1].delivery.settled]
            if len(batch) > 1:
                for one in left:
                    await self._park([one])
            elif left:
                delivery = left[0][1].delivery
                _log.error(Action.DELIVERY_LEFT, queue=delivery.queue, message_id=delivery.message_id, **told(error))

    async def _park_together(self, batch: Sequence[_Waiting]) -> None:
        misled = any(isinstance(failed.failure.error, WrongPartition) for _, failed in batch)
        if misled and not await self._belongs():
            # Its partition may well be right, and ours the wrong number: it comes again, to somebody else.
            batch = [one for one in batch if not isinstance(one[1].failure.error, WrongPartition)]
        await park_all(self._bus, [failed for _, failed in batch])
        self._metrics.inputs.labels("parked").inc(len(batch))
        for holding, failed in batch:
            self._ownership.settled(holding.partition, failed.failure.error)

    async def _belongs(self) -> bool:
        """Whether the installation is the one that this worker was started for."""
        try:
            check = partial(check_installation, self._store, self._bus.topology)
            await keep_trying("check the installation", check)
        except InstallationMismatch as error:
            _log.error(Action.INSTALLATION_CHANGED, worker=self._ownership.worker_id, error=str(error))
            return False
        return True
