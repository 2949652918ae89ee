"""Backups: made, listed, told, verified, removed."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

from agentbus.composition.app import make_clock, make_store, need_backups, place_of
from agentbus.contracts.backup import Manifest
from agentbus.storage.backup import BackupPlace, Listed
from agentbus.storage.backup.retention import Keep
from agentbus.storage.backup.sweeping import Swept
from agentbus.storage.backup.verifying import Checked, Fault, verify
from agentbus.workers.backup import BackedUp, Damaged, Wanted, back_up
from agentbus.workers.backup.keeping import Pruned, not_kept, prune

if TYPE_CHECKING:
    from agentbus.settings import Settings

__all__ = [
    "BackedUp", "Checked", "Damaged", "Fault", "Keep", "Listed", "Manifest", "Pruned", "Swept", "Wanted",
    "create_backup", "keep_of", "list_backups", "prune_backups", "show_backup", "verify_backups",
]  # fmt: skip


async def create_backup(settings: "Settings", wanted: Wanted) -> AsyncGenerator[BackedUp | Damaged | Manifest, None]:
    """Make a backup of the settings' store; yield how far it is, and in the end its manifest.

    One that was interrupted is gone on with. Raises ConfigurationError, StoreError, BackupError.
    """
    async with make_store(settings) as store:
        place = need_backups(settings, store)
        source = place_of(settings.store.store_url)
        async with aclosing(back_up(store, place, wanted, source=source, clock=make_clock())) as steps:
            async for step in steps:
                yield step


async def list_backups(place: BackupPlace) -> Sequence[Listed]:
    """Return all finished backups, the latest first. Raises BackupUnavailable."""
    return await place.backups()


async def show_backup(place: BackupPlace, backup_id: str) -> Manifest:
    """Return what a backup is; the latest for `latest`. Raises BackupNotFound, BackupDamaged, BackupUnavailable."""
    if backup_id == "latest" and (latest := await place.latest()):
        return latest
    return await place.manifest(backup_id)


async def verify_backups(place: BackupPlace, backup_id: str | None = None) -> AsyncGenerator[Checked | Fault, None]:
    """Read all files of a backup, or of all of them; yield each fault, and how much was read. Needs no key.

    Raises BackupNotFound, BackupUnavailable.
    """
    async with aclosing(verify(place, backup_id)) as steps:
        async for step in steps:
            yield step


async def prune_backups(place: BackupPlace, keep: Keep, *, remove: Sequence[str] = (), dry_run: bool = False) -> Pruned:
    """Remove the backups that are not kept, those that are named, and the files that no backup needs then.

    With `dry_run` nothing is removed: it is told which backups would be. Raises BackupNotFound, BackupDamaged,
    BackupUnavailable.
    """
    there = {one.backup_id for one in await place.backups()}
    for backup_id in remove:
        if backup_id not in there:
            raise place.no_such(backup_id)
    going = sorted({*remove, *await not_kept(place, keep)}, reverse=True)
    return Pruned(going, Swept(0, 0)) if dry_run else await prune(place, going, make_clock().now())


def keep_of(settings: "Settings") -> Keep:
    """Return what the settings keep."""
    backup = settings.backup
    return Keep(
        last=backup.backup_keep_last,
        daily=backup.backup_keep_daily,
        weekly=backup.backup_keep_weekly,
        monthly=backup.backup_keep_monthly,
    )
