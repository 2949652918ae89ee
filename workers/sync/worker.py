"""The sync worker: reacts to events, and carries out the syncs that are due. Any number run side by side."""

from datetime import timedelta
from typing import Final

from agentbus.contracts.clock import Clock
from agentbus.contracts.members import WorkerKind
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.telemetry import Action
from agentbus.contracts.topology import Topology
from agentbus.storage.log_lines import Logger
from agentbus.storage.port import Store
from agentbus.workers.concurrency import raise_if_cancelled, side_by_side
from agentbus.workers.delivery.retry import OUTAGES
from agentbus.workers.delivery.telemetry import WorkerMetrics
from agentbus.workers.faults import told
from agentbus.workers.reactive.time_loop import Share, TimeLoop
from agentbus.workers.reactive.worker import Events, ReactiveWorker
from agentbus.workers.sync.tasks import SyncTasks

SUBSCRIPTION: Final = "sync"
"""The durable subscription that all sync workers share."""

_BATCH: Final = 100
"""Tasks that are carried out together."""
_AGAIN: Final = timedelta(minutes=1)
"""How much later a task that failed unexpectedly is tried again."""

_log = Logger(__name__)


class SyncWorker(ReactiveWorker):
    """Times are in seconds: `interval` between two looks at what is due, `beat` and `ttl` of heartbeats."""

    def __init__(
        self,
        store: Store,
        events: Events,
        tasks: SyncTasks,
        *,
        clock: Clock,
        topology: Topology,
        interval: float = 1.0,
        beat: float = 1.0,
        ttl: float = 4.0,
        metrics: WorkerMetrics | None = None,
    ) -> None:
        self._store = store
        self._tasks = tasks
        self._clock = clock
        group = WorkerKind.SYNC.group(topology.prefix)
        super().__init__(
            WorkerKind.SYNC,
            Share(store, group, topology.partitions, clock=clock, interval=beat, ttl=ttl),
            events=(events,),
            loops=(TimeLoop("sync", self.turn, interval=interval),),
            metrics=metrics or WorkerMetrics(),
        )

    async def turn(self) -> bool:
        """Carry out what is due; return whether there may be more."""
        now = self._clock.now()
        due = await self._store.records.due(RecordKind.SYNC_TASK, now, groups=self._share.groups, limit=_BATCH)
        await side_by_side(self._carry_out(task) for task in due)
        if self._share.leads:
            for kind in (RecordKind.CLAIM_CODE, RecordKind.CLAIM):
                await self._store.records.drop(await self._store.records.due(kind, now, limit=_BATCH))
        return len(due) == _BATCH

    async def _carry_out(self, task: Record) -> None:
        try:
            await self._tasks.carry_out(task)
        except Exception as error:
            raise_if_cancelled()
            if OUTAGES.may_pass(error):
                raise
            # One that can't be carried out must not be in the way of the others.
            _log.error(Action.HANDLER_FAILED, task=task.key, **told(error))
            await self._store.records.put_many([task.model_copy(update={"due_at": self._clock.now() + _AGAIN})])
