"""The expiry worker: ends sessions by rules and by their own deadlines, and tells who wants to know."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agentbus.contracts.clock import Clock
from agentbus.contracts.errors import Unroutable
from agentbus.contracts.members import WorkerKind
from agentbus.contracts.secrets import SECRET_KEYS
from agentbus.storage.archive import ArchiveStore
from agentbus.storage.port import Store
from agentbus.workers.bus.port import Bus
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.delivery.retry import keep_trying
from agentbus.workers.delivery.telemetry import WorkerMetrics
from agentbus.workers.expiry.rules import ExpiryRules, RuleBook
from agentbus.workers.expiry.statistics import StatisticsRecorder
from agentbus.workers.expiry.watch.commands import ExpiryCommands
from agentbus.workers.expiry.watch.deadlines import Deadlines
from agentbus.workers.expiry.watch.due import DueWatch
from agentbus.workers.expiry.watch.handler import TOPICS, ExpiryHandler
from agentbus.workers.expiry.watch.pace import Pace
from agentbus.workers.expiry.watch.rescan import Rescan
from agentbus.workers.notify import NotificationCallback
from agentbus.workers.notify.notifier import TOPICS as NOTICES
from agentbus.workers.notify.notifier import Nobody, Notifier
from agentbus.workers.reactive.handler import Handler
from agentbus.workers.reactive.time_loop import Share, TimeLoop
from agentbus.workers.reactive.worker import Events, ReactiveWorker

EVENTS_QUEUE = "expiry"
"""The durable subscription that all expiry workers share."""
NOTICES_QUEUE = "expiry-notices"
"""The durable subscription of those who are told of steps."""


Listen = Callable[[str, tuple[str, ...], Handler], Events]
"""Returns the events of some topics, through a durable subscription of a name, as they are given to a handler."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiryConfig:
    """How an expiry worker watches. Times are in seconds."""

    interval: float = 0.25
    """Between two looks at what is due."""
    refresh: float = 1.0
    """Between two looks at the rules."""
    fold: float = 3600.0
    """Between two times that the counts of past days are added up."""
    beat: float = 1.0
    """Between heartbeats."""
    ttl: float = 4.0
    """Silence after which an instance is taken for dead."""
    secret_keys: tuple[str, ...] = SECRET_KEYS
    """Keys whose values are not brought into another session by a merge."""


class ExpiryWorker(ReactiveWorker):
    """One of any number of instances; each watches its share of the partitions, and all share the events."""

    def __init__(
        self,
        bus: Bus,
        store: Store,
        listen: Listen,
        commands: Inputs,
        *,
        archive: ArchiveStore | None,
        callbacks: Sequence[NotificationCallback],
        clock: Clock,
        metrics: WorkerMetrics,
        config: ExpiryConfig | None = None,
    ) -> None:
        config = config or ExpiryConfig()
        topology = bus.topology
        self.rules = ExpiryRules(store, clock)
        self.figures = StatisticsRecorder(store, clock)
        self._book = RuleBook(self.rules)
        group = WorkerKind.EXPIRY.group(topology.prefix)
        share = Share(store, group, topology.partitions, clock=clock, interval=config.beat, ttl=config.ttl)
        deadlines = Deadlines(store, topology, self._book, clock)
        handler = ExpiryHandler(self._book, deadlines, self.figures)
        acting = ExpiryCommands(store, commands, archive, metrics=metrics, clock=clock, secret_keys=config.secret_keys)
        self._due = DueWatch(
            store,
            share,
            self._book,
            deadlines,
            acting=acting,
            pace=Pace(store, topology.partitions, clock=clock, metrics=metrics),
            figures=self.figures,
            clock=clock,
            metrics=metrics,
        )
        # Twice as long as the others take to see the rules that are rescanned for.
        self._rescan = Rescan(store, share, self._book, deadlines, clock=clock, settling=2 * config.refresh)
        super().__init__(
            WorkerKind.EXPIRY,
            share,
            events=(
                listen(EVENTS_QUEUE, TOPICS, handler),
                listen(NOTICES_QUEUE, NOTICES, Notifier(callbacks, metrics))
                if callbacks
                else _IfThere(bus, NOTICES_QUEUE, listen(NOTICES_QUEUE, NOTICES, Nobody())),
            ),
            loops=(
                TimeLoop("expire what is due", self._due.turn, interval=config.interval),
                TimeLoop("look at the expiry rules", self._look_at_rules, interval=config.refresh),
                TimeLoop("rescan", self._rescan.turn, interval=config.refresh),
                TimeLoop("add up figures", self._fold, interval=config.fold),
            ),
            metrics=metrics,
        )

    async def _prepare(self) -> None:
        await self._book.refresh()
        await self.figures.start()

    async def _finish(self) -> None:
        await self._due.close()

    async def _look_at_rules(self) -> bool:
        await self._book.refresh()
        return False

    async def _fold(self) -> bool:
        if self._share.leads:
            await self.figures.fold()
        return False


class _IfThere:
    """The events of a durable subscription that is not made, but taken if there is one: it would fill up otherwise."""

    def __init__(self, bus: Bus, name: str, events: Events) -> None:
        self._bus = bus
        self._queue = bus.topology.subscription_queue(name)
        self._events = events

    async def start(self) -> None:
        """Begin to take them, if there is a queue of them. Waits out a broker that is not there for the moment."""
        if await keep_trying("look for a subscription", self._is_there):
            await self._events.start()

    async def close(self) -> None:
        """End it. Idempotent."""
        await self._events.close()

    async def _is_there(self) -> bool:
        try:
            await self._bus.depth(self._queue)
        except Unroutable:
            return False
        return True
