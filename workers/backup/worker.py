"""The backup worker: makes a backup when its time has come, once for all instances, and removes what is not kept."""

import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from agentbus.contracts.backup import BackupFormat, Manifest
from agentbus.contracts.clock import Clock
from agentbus.contracts.errors import BackupDamaged, BackupError, ConfigurationError, LockLost, StoreDamaged
from agentbus.contracts.members import WorkerKind
from agentbus.contracts.records import Lock
from agentbus.contracts.telemetry import Action
from agentbus.contracts.topology import Topology
from agentbus.storage.backup.begun import all_begun
from agentbus.storage.backup.place import BackupPlace
from agentbus.storage.backup.retention import Keep
from agentbus.storage.log_lines import Logger
from agentbus.storage.port import Store
from agentbus.workers.backup.beginning import Wanted
from agentbus.workers.backup.keeping import SCHEDULED, not_kept, prune
from agentbus.workers.backup.making import Damaged, back_up
from agentbus.workers.concurrency import afterwards, raise_if_cancelled
from agentbus.workers.delivery.telemetry import WorkerMetrics
from agentbus.workers.faults import told
from agentbus.workers.reactive.time_loop import Share, TimeLoop
from agentbus.workers.reactive.worker import ReactiveWorker

LEASE: Final = 60.0
"""Seconds that the lease lasts which lets one instance make backups; it is renewed meanwhile."""
_AGAIN: Final = timedelta(minutes=5)
"""After which one that failed is tried again: it goes on where it was."""

_log = Logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupConfig:
    """When a worker makes backups, and what it keeps. Times are in seconds."""

    source: str
    """Which store it is, without a password."""
    every: float = 86_400.0
    """Between the beginnings of two backups."""
    full_every: float = 604_800.0
    """Between those of two full ones; 0: all are."""
    file_format: BackupFormat = BackupFormat.JSON
    keep: Keep = field(default_factory=Keep)
    interval: float = 10.0
    """Between two looks whether it is time."""
    beat: float = 1.0
    """Between heartbeats."""
    ttl: float = 4.0
    """Silence after which an instance is taken for dead."""


class BackupWorker(ReactiveWorker):
    """One of any number of instances, of which one at a time makes a backup."""

    def __init__(
        self,
        store: Store,
        place: BackupPlace,
        *,
        clock: Clock,
        topology: Topology,
        metrics: WorkerMetrics,
        config: BackupConfig,
    ) -> None:
        group = WorkerKind.BACKUP.group(topology.prefix)
        self._turns = BackupTurns(store, place, clock=clock, lock=group, config=config)
        super().__init__(
            WorkerKind.BACKUP,
            Share(store, group, topology.partitions, clock=clock, interval=config.beat, ttl=config.ttl),
            events=(),
            loops=(TimeLoop("make backups", self._turns.turn, interval=config.interval),),
            metrics=metrics,
        )


class BackupTurns:
    """Makes a backup if it is time, and if nobody else does: whoever holds the lease."""

    def __init__(
        self,
        store: Store,
        place: BackupPlace,
        *,
        clock: Clock,
        lock: str,
        config: BackupConfig,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._place = place
        self._clock = clock
        self._lock = lock
        self._config = config
        self._monotonic = monotonic
        self._not_before: datetime | None = None
        self._damaged = False
        """Whether what an incremental backup would go on from is."""

    async def turn(self) -> bool:
        """Take a turn; return False: there is never more to do at once. What fails is told, and tried again later."""
        now = self._clock.now()
        if self._not_before is not None and now < self._not_before:
            return False
        try:
            self._not_before = await self._next(now)
            if self._not_before <= now and (lock := await self._store.locks.acquire(self._lock, ttl=LEASE)):
                try:
                    await self._if_still_due(lock)
                finally:
                    await afterwards("give the lease back", self._give_back(lock))
        except (BackupError, ConfigurationError, LockLost, StoreDamaged) as error:
            raise_if_cancelled()
            self._damaged = isinstance(error, BackupDamaged)
            _log.error(Action.BACKUP_FAILED, place=self._place.shown, **told(error))
            self._not_before = self._clock.now() + _AGAIN
        return False

    async def _give_back(self, lock: Lock) -> None:
        await self._store.locks.release(lock.name, lock.token)

    async def _next(self, now: datetime) -> datetime:
        """Return when the next backup is due: at once, if one is to be gone on with."""
        config = self._config
        if any(one.source == config.source for one in await all_begun(self._place)):
            return now
        made = await self._made()
        return made[0].created_at + timedelta(seconds=config.every) if made else now

    async def _made(self) -> list[Manifest]:
        """Return the backups of this store, the latest first."""
        backups = [one.manifest for one in await self._place.backups() if one.manifest]
        return [one for one in backups if one.source == self._config.source]

    async def _if_still_due(self, lock: Lock) -> None:
        """Make a backup, unless somebody else has made it since."""
        now = self._clock.now()
        if await self._next(now) > now:
            return
        await self._make(lock, incremental=not self._damaged and self._is_incremental(await self._made(), now))
        self._damaged = False
        config = self._config
        if not config.keep.everything:
            going = await not_kept(self._place, config.keep, source=config.source, tag=SCHEDULED)
            pruned = await prune(self._place, going, now)
            _log.info(Action.BACKUPS_PRUNED, backups=len(pruned.backups), bytes=pruned.swept.size)

    def _is_incremental(self, made: list[Manifest], now: datetime) -> bool:
        full = next((one.created_at for one in made if one.base is None), None)
        return full is not None and now - full < timedelta(seconds=self._config.full_every)

    async def _make(self, lock: Lock, *, incremental: bool) -> None:
        config, renewed = self._config, self._monotonic()
        wanted = Wanted(file_format=config.file_format, incremental=incremental, tags=(SCHEDULED,))
        steps = back_up(self._store, self._place, wanted, source=config.source, clock=self._clock)
        async with aclosing(steps):
            async for step in steps:
                if self._monotonic() - renewed > LEASE / 3:
                    renewed = self._monotonic()
                    # Whoever took the lease since goes on with the same backup: this one would end at its next note.
                    if await self._store.locks.renew(lock.name, lock.token, ttl=LEASE) is None:
                        raise LockLost("somebody else makes the backup")
                match step:
                    case Damaged(conversation_id=conversation, damage=damage):
                        _log.warning(Action.STORE_DAMAGED, conversation_id=conversation, reason=str(damage))
                    case Manifest():
                        _log.info(
                            Action.BACKUP_MADE,
                            backup=step.backup_id,
                            sessions=step.counts.sessions,
                            damaged=step.counts.damaged,
                            bytes=step.written,
                        )
