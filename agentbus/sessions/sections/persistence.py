"""Backups, and sessions in files: made, listed, verified, brought back."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Final

from agentbus.composition.app import App, need_backups, place_of
from agentbus.composition.persisting import (
    Outcomes,
    export_from,
    import_into,
    named_backup,
    restore_into,
    signing_of,
    verified,
)
from agentbus.contracts.backup import BackupFormat, Manifest
from agentbus.contracts.errors import BackupRefused
from agentbus.contracts.members import WorkerKind
from agentbus.contracts.recovery import Outcome, RecoveryStrategy, RestoredSession
from agentbus.sessions.engine import Engine
from agentbus.sessions.model.validation import checking
from agentbus.storage.backup import BackupPlace
from agentbus.storage.backup.retention import Keep
from agentbus.storage.backup.verifying import Checked, Fault, verify
from agentbus.storage.damage import tell
from agentbus.workers.backup import Damaged, Wanted, back_up
from agentbus.workers.backup.keeping import not_kept, prune
from agentbus.workers.backup.worker import LEASE
from agentbus.workers.concurrency import afterwards
from agentbus.workers.recovery import RecoveryOptions

_LISTED: Final = 1_000
"""Sessions of a restore that are named one by one."""
_PAUSE: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupCheck:
    """What verifying a backup came to; true if it is whole."""

    backup_id: str
    files: int
    """That were read and found right."""
    size: int
    """Their bytes."""
    faults: dict[str, str] = field(default_factory=dict)
    """What is wrong, by file."""

    def __bool__(self) -> bool:
        return not self.faults


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreReport:
    """What restoring a backup came to, or would; true if no session failed."""

    backup_id: str
    dry_run: bool
    outcomes: dict[Outcome, int]
    """How many sessions had which."""
    sessions: tuple[RestoredSession, ...]
    """The first thousand of those that are not the same."""
    epoch: int | None = None
    """Of the restore; None for a dry run."""

    def __bool__(self) -> bool:
        return not self.outcomes.get(Outcome.FAILED)


class Persistence:
    """Backups of the system's store."""

    def __init__(self, engine: Engine, app: App) -> None:
        self._engine = engine
        self._app = app

    @property
    def _place(self) -> BackupPlace:
        return need_backups(self._app.settings, self._app.store)

    async def create(
        self, form: BackupFormat | str | None, description: str, tags: Sequence[str], *, incremental: bool
    ) -> Manifest:
        with checking("there is no such backup"):
            chosen = BackupFormat(form or self._app.settings.backup.backup_format)
        wanted = Wanted(file_format=chosen, incremental=incremental, description=description, tags=tuple(tags))
        place, locks = self._place, self._engine.store.locks
        name = WorkerKind.BACKUP.group(self._app.bus.topology.prefix)
        deadline = monotonic() + self._engine.call_timeout
        # The worker's own lease: of two that make one at once the earlier would end.
        while (lock := await locks.acquire(name, ttl=LEASE)) is None:
            if monotonic() > deadline:
                raise BackupRefused("another backup is being made: wait for its end")
            await asyncio.sleep(_PAUSE)
        renewed, made = monotonic(), list[Manifest]()
        try:
            source = place_of(self._app.settings.store.store_url)
            steps = back_up(self._app.store, place, wanted, source=source, clock=self._app.clock)
            async with aclosing(steps):
                async for step in steps:
                    if monotonic() - renewed > LEASE / 3:
                        renewed = monotonic()
                        await locks.renew(name, lock.token, ttl=LEASE)
                    if isinstance(step, Manifest):
                        made.append(step)
                    elif isinstance(step, Damaged):
                        tell(step.damage)
        finally:
            await afterwards("give the lease back", locks.release(name, lock.token))
        return made[-1]

    async def all(self) -> list[Manifest]:
        return [one.manifest for one in await self._place.backups() if one.manifest]

    async def verify(self, backup_id: str) -> BackupCheck:
        place = self._place
        named = (await named_backup(place, backup_id)).backup_id
        faults, checked = dict[str, str](), Checked(0, 0)
        async with aclosing(verify(place, named)) as steps:
            async for step in steps:
                if isinstance(step, Fault):
                    faults[step.path] = step.reason
                else:
                    checked = step
        return BackupCheck(backup_id=named, files=checked.files, size=checked.size, faults=faults)

    async def delete(self, backup_id: str) -> None:
        place = self._place
        if backup_id not in {one.backup_id for one in await place.backups()}:
            raise place.no_such(backup_id)
        await prune(place, [backup_id], self._app.clock.now())

    async def clean_up(self, keep_last: int | None, *, dry_run: bool) -> list[str]:
        told, place = self._app.settings.backup, self._place
        keep = Keep(
            last=told.backup_keep_last,
            daily=told.backup_keep_daily,
            weekly=told.backup_keep_weekly,
            monthly=told.backup_keep_monthly,
        )
        going = await not_kept(place, keep if keep_last is None else Keep(last=keep_last))
        return going if dry_run else list((await prune(place, going, self._app.clock.now())).backups)

    async def restore(self, backup_id: str, options: RecoveryOptions | None, *, dry_run: bool) -> RestoreReport:
        app, place = self._app, self._place
        manifest = await named_backup(place, backup_id)
        await verified(place, manifest.backup_id)
        chosen = options or RecoveryOptions()
        came = Outcomes(most=_LISTED)
        steps = restore_into(app, place, manifest, app.archive, chosen, dry_run=dry_run, directly=False)
        async with aclosing(steps):
            async for step in steps:
                came.note(step)
        return RestoreReport(
            backup_id=manifest.backup_id,
            dry_run=dry_run,
            outcomes=dict(came.counts),
            sessions=tuple(came.sessions),
            epoch=came.epoch,
        )

    async def export(
        self, session_id: str, form: BackupFormat | str, path: str | Path | None, user_id: str | None
    ) -> Path:
        with checking("there is no such format"):
            chosen = BackupFormat(form)
        state = await self._engine.existing(session_id, user_id)
        target = None if path is None else Path(path)
        return await export_from(
            self._app.store,
            self._app.archive,
            state.session_id,
            chosen,
            path=target,
            signing=signing_of(self._app.settings),
        )

    async def take_in(self, path: str | Path, strategy: RecoveryStrategy | str) -> RestoredSession:
        options = RecoveryOptions(strategy=strategy)
        return await import_into(self._app, Path(path), options, self._app.archive, signing_of(self._app.settings))
