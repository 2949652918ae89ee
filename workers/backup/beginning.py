"""Where a backup begins: anew, on the files of an earlier one, or where one that was interrupted ended."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

from agentbus.contracts.backup import BackupFormat, Layer, Manifest
from agentbus.contracts.errors import BackupNotFound
from agentbus.storage.backup.begun import Begun, all_begun, claim, give_up
from agentbus.storage.backup.place import BackupPlace

MOST_LAYERS: Final = 32
"""Incremental backups that go on from each other, and the full one below them: each is one more to read. The next is
a full one."""
STALE: Final = timedelta(days=1)
"""After which a backup that was interrupted is begun anew: what is in it is too old by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What kind of backup is wanted."""

    file_format: BackupFormat = BackupFormat.JSON
    incremental: bool = False
    """Whether it is enough to read what has changed since the latest one."""
    description: str = ""
    tags: tuple[str, ...] = ()


async def begin(
    place: BackupPlace, wanted: Wanted, *, source: str, epoch: int, encrypted: bool, now: datetime
) -> tuple[Begun, bool]:
    """Return the backup that is to be made, claimed, and whether it is one that was interrupted: one of the same kind.

    Others of the same store that were interrupted are given up. Raises BackupUnavailable, BackupFull.
    """
    going_on: Begun | None = None
    for left in await all_begun(place):
        if left.source != source:
            continue
        same = (left.file_format, left.encrypted, left.incremental) == (
            wanted.file_format,
            encrypted,
            wanted.incremental,
        )
        if same and going_on is None and now - left.updated_at < STALE:
            going_on = left
        else:
            await give_up(place, left.backup_id)
    if going_on is None:
        return await _anew(place, wanted, source=source, epoch=epoch, encrypted=encrypted, now=now), False
    going_on = going_on.model_copy(update={"run": uuid4().hex, "description": wanted.description, "tags": wanted.tags})
    await claim(place, going_on)
    return going_on, True


async def _anew(
    place: BackupPlace, wanted: Wanted, *, source: str, epoch: int, encrypted: bool, now: datetime
) -> Begun:
    begun = Begun(
        backup_id=f"{now:%Y%m%dt%H%M%S}{now.microsecond // 1000:03}z-{uuid4().hex[:8]}",
        run=uuid4().hex,
        created_at=now,
        updated_at=now,
        source=source,
        epoch=epoch,
        file_format=wanted.file_format,
        encrypted=encrypted,
        description=wanted.description,
        tags=wanted.tags,
        incremental=wanted.incremental,
    )
    async with aclosing(_candidates(place, begun)) as candidates:
        async for before in candidates:
            guarded = _based_on(begun, before)
            await claim(place, guarded)
            # Whoever sweeps looks at what is under way after it has forgotten a backup: one that is still here stays.
            try:
                await place.manifest(before.backup_id)
            except BackupNotFound:
                continue
            return guarded
    await claim(place, begun)
    return begun


async def _candidates(place: BackupPlace, begun: Begun) -> AsyncGenerator[Manifest, None]:
    """Yield the backups that this one can take files of, the latest first."""
    kind = begun.source, begun.file_format, begun.encrypted
    for one in await place.backups():
        if (found := one.manifest) and (found.source, found.file_format, found.encrypted) == kind:
            yield found


def _based_on(begun: Begun, before: Manifest) -> Begun:
    layers: tuple[Layer, ...] = before.layers
    if begun.incremental and len(layers) < MOST_LAYERS:
        return begun.model_copy(update={"base": before.backup_id, "guarded": layers, "size": before.size})
    return begun.model_copy(update={"guarded": layers})
