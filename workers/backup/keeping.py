"""Removing backups that are not kept any more, and the files that nothing names then."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from agentbus.storage.backup.place import BackupPlace, Listed
from agentbus.storage.backup.retention import Keep, to_keep
from agentbus.storage.backup.sweeping import Swept, sweep


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed."""

    backups: Sequence[str]
    swept: Swept


SCHEDULED: Final = "scheduled"
"""The tag of backups that a worker made."""


async def not_kept(place: BackupPlace, keep: Keep, *, source: str | None = None, tag: str | None = None) -> list[str]:
    """Return which backups are not kept, of those of a store, or of each store by itself; the latest first.

    With a `tag` the others are not looked at: they stay. One whose manifest is damaged stays: nobody knows what it is.
    The latest that is complete stays: what is damaged now, later ones don't have.
    """
    found: dict[str, list[Listed]] = {}
    for one in await place.backups():
        if (made := one.manifest) and source in {None, made.source} and (tag is None or tag in made.tags):
            found.setdefault(made.source, []).append(one)
    kept: set[str] = set()
    for backups in found.values():
        kept |= to_keep([(one.backup_id, one.manifest.created_at) for one in backups if one.manifest is not None], keep)
        kept |= {next((one.backup_id for one in backups if one.manifest and one.manifest.is_complete), "")}
    return sorted({one.backup_id for backups in found.values() for one in backups} - kept, reverse=True)


async def prune(place: BackupPlace, backups: Collection[str], now: datetime) -> Pruned:
    """Let some backups be none any more, and remove all files that nothing names. Safe while others make backups.

    Raises BackupDamaged, having removed no file, if it can't be told what is named.
    """
    forgotten = [backup for backup in backups if await place.forget(backup)]
    return Pruned(forgotten, await sweep(place, now))
