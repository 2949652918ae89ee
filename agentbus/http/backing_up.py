"""What the jobs about backups do, whoever starts them: a call of the API, or a form of the dashboard."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, Final

from pydantic import Field

from agentbus.composition.app import App, need_backups, place_of
from agentbus.composition.persisting import Outcomes, checks_of, named_backup, restore_into
from agentbus.contracts.backup import Counts, Manifest
from agentbus.contracts.base import Many, Timestamp
from agentbus.contracts.errors import BackupNotFound, FeatureNotEnabled
from agentbus.contracts.recovery import RestoredSession
from agentbus.http.shown import Shown
from agentbus.operations.backup import (
    BackedUp,
    Damaged,
    Fault,
    Keep,
    Wanted,
    list_backups,
    prune_backups,
    show_backup,
    verify_backups,
)
from agentbus.operations.jobs import Step, result
from agentbus.storage.backup import BackupPlace
from agentbus.storage.damage import tell
from agentbus.workers.backup import back_up
from agentbus.workers.recovery import RecoveryOptions

_NAMED: Final = 100
"""Faults, damages and sessions that a job's result names one by one."""


class BackupShown(Shown):
    """A finished backup."""

    backup_id: str
    damage: str | None = Field(default=None, description="Why it can't be read.")
    created_at: Timestamp | None = None
    finished_at: Timestamp | None = None
    description: str = ""
    tags: Many[str] = ()
    base: str | None = Field(default=None, description="The backup whose files it goes on from.")
    encrypted: bool | None = None
    counts: Counts | None = Field(default=None, description="What it holds in all.")
    size: int | None = Field(default=None, description="Bytes of all its files.")

    @classmethod
    def of(cls, manifest: Manifest) -> "BackupShown":
        """Return a backup as it is shown."""
        return cls(**{name: getattr(manifest, name) for name in cls.model_fields if name != "damage"})


def place_in(app: App) -> BackupPlace:
    """Return where the backups are. Raises FeatureNotEnabled where that is not set."""
    if app.settings.backup.backup_url is None:
        raise FeatureNotEnabled("no place for backups is set: AGENTBUS_BACKUP_URL")
    return need_backups(app.settings, app.store)


async def find_backup(place: BackupPlace, backup_id: str) -> Manifest:
    """Return what a backup is; the latest for `latest`. Raises BackupNotFound, BackupDamaged, BackupUnavailable."""
    if backup_id == "latest" and not await list_backups(place):
        raise BackupNotFound
    return await show_backup(place, backup_id)


async def backing_up(app: App, place: BackupPlace, wanted: Wanted) -> AsyncGenerator[Step, None]:
    """Make a backup of all that the store holds."""
    damaged: list[str] = []
    source = place_of(app.settings.store.store_url)
    async with aclosing(back_up(app.store, place, wanted, source=source, clock=app.clock)) as steps:
        async for step in steps:
            match step:
                case BackedUp(part, things, written):
                    yield {"part": part, "things": things, "written": written}
                case Damaged(damage=damage):
                    tell(damage)
                    damaged.append(str(damage)[:1000])
                case Manifest():
                    shown = BackupShown.of(step).model_dump(mode="json")
                    yield result(backup=shown, damaged=len(damaged), damages=[*damaged[:_NAMED]])


async def verifying(place: BackupPlace, backup_id: str | None) -> AsyncGenerator[Step, None]:
    """Read every byte of a backup, or of all of them; the result names each fault."""
    faults: list[Any] = []
    count, files, size = 0, 0, 0
    async with aclosing(verify_backups(place, backup_id)) as steps:
        async for step in steps:
            if isinstance(step, Fault):
                count += 1
                if len(faults) < _NAMED:
                    faults.append({"file": step.path, "reason": step.reason[:1000]})
            else:
                files, size = step.files, step.size
            yield {"files": files, "size": size, "faults": count}
    yield result(files=files, size=size, count=count, faults=faults)


async def removing(
    place: BackupPlace, keep: Keep, remove: Sequence[str], *, dry_run: bool
) -> AsyncGenerator[Step, None]:
    """Remove backups that are not kept, and those that are named."""
    pruned = await prune_backups(place, keep, remove=remove, dry_run=dry_run)
    gone = list(pruned.backups)
    yield result(
        dry_run=dry_run, count=len(gone), backups=[*gone[:1000]], files=pruned.swept.files, size=pruned.swept.size
    )


async def restoring(
    app: App, place: BackupPlace, backup_id: str, options: RecoveryOptions, *, dry_run: bool
) -> AsyncGenerator[Step, None]:
    """Verify a backup, and bring back each of its sessions through its owner."""
    manifest = await named_backup(place, backup_id)
    async with aclosing(checks_of(place, manifest.backup_id)) as checks:
        async for checked in checks:
            yield {"verified_files": checked.files, "verified_size": checked.size}
    came = Outcomes(most=_NAMED)
    steps = restore_into(app, place, manifest, app.archive, options, dry_run=dry_run, directly=False)
    async with aclosing(steps):
        async for step in steps:
            came.note(step)
            if isinstance(step, RestoredSession):
                yield {**came.by_name}
    named = [one.model_copy(update={"reason": one.reason[:1000]}).model_dump(mode="json") for one in came.sessions]
    yield result(
        backup_id=manifest.backup_id,
        dry_run=dry_run,
        epoch=came.epoch,
        outcomes={**came.by_name},
        sessions=[*named],
    )
