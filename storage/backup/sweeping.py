"""Removing what no backup names any more, while others may be writing backups."""

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from agentbus.contracts.backup import FileRef, Layer, is_backup_id
from agentbus.storage.backup.begun import Begun, all_begun, give_up
from agentbus.storage.backup.place import FILES, BackupPlace, path_of
from agentbus.storage.backup.reading import LayersReader
from agentbus.storage.backup.spool import Spool

ABANDONED: Final = timedelta(days=7)
"""After which nobody goes on with a backup that was interrupted: its files go too."""
_TOGETHER: Final = 1_000


@dataclass(frozen=True, slots=True)
class Swept:
    """What was removed."""

    files: int
    size: int
    """Bytes."""


async def sweep(place: BackupPlace, now: datetime) -> Swept:
    """Remove the files that no backup names, and those of backups that nobody goes on with; return how much that was.

    What others are writing meanwhile stays, and what they build on. Raises BackupDamaged, and removes nothing, if it
    can't be told what is named.
    """
    # In this order: whoever begins a backup says so before writing a file of it, names its manifest before saying that
    # it is over, and looks after having begun whether what it builds on is still a backup.
    homes = [name for name, _ in await place.folder.names(FILES)]
    begun = await _under_way(place, now)
    backups = await place.backups()
    async with Spool() as named:
        for one in backups:
            if one.damage:
                raise one.damage
            if one.manifest:
                await _learn(place, named, one.manifest.layers, ())
        for left in begun:
            await _learn(place, named, left.guarded, left.pages)
        swept = [
            await _sweep_home(place, home, named) for home in homes if home not in {one.backup_id for one in begun}
        ]
    return Swept(sum(one.files for one in swept), sum(one.size for one in swept))


async def sweep_own(place: BackupPlace, backup_id: str, layers: Iterable[Layer]) -> None:
    """Remove what a run that was interrupted left among the files of a backup that has just been finished."""
    async with Spool() as named:
        await _learn(place, named, layers, ())
        await _sweep_home(place, backup_id, named)


async def named_by(place: BackupPlace, layers: Iterable[Layer], pages: Iterable[FileRef]) -> AsyncGenerator[FileRef]:
    """Yield the files that layers, and pages that are in none yet, need."""
    async with aclosing(LayersReader(place, tuple(layers)).files()) as files:
        async for ref in files:
            yield ref
    for page in pages:
        yield page
        for group in await place.groups_of(page):
            for ref in group.all:
                yield ref


async def _learn(place: BackupPlace, named: Spool, layers: Iterable[Layer], pages: Iterable[FileRef]) -> None:
    some: list[tuple[str, str]] = []
    async with aclosing(named_by(place, layers, pages)) as refs:
        async for ref in refs:
            some.append((path_of(ref), ""))
            if len(some) >= _TOGETHER:
                await named.put(some)
                some = []
    await named.put(some)


async def _under_way(place: BackupPlace, now: datetime) -> list[Begun]:
    found: list[Begun] = []
    for begun in await all_begun(place):
        if now - begun.updated_at < ABANDONED:
            found.append(begun)
        else:
            await give_up(place, begun.backup_id)
    return found


async def _sweep_home(place: BackupPlace, home: str, named: Spool) -> Swept:
    if not is_backup_id(home):
        return Swept(0, 0)
    files = size = 0
    inside = await place.folder.names(f"{FILES}/{home}")
    paths = {f"{FILES}/{home}/{name}": int(details.get("size") or 0) for name, details in inside}
    kept = await named.get(list(paths))
    for path in paths.keys() - kept.keys():
        if await place.folder.remove(path):
            files, size = files + 1, size + paths[path]
    if not kept:
        await place.folder.remove(f"{FILES}/{home}")
    return Swept(files, size)
