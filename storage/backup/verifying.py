"""Verifying backups: every byte of every file, and that no file is missing or there without a reason."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from agentbus.contracts.backup import FileRef, Manifest
from agentbus.contracts.errors import BackupDamaged
from agentbus.storage.backup.begun import all_begun
from agentbus.storage.backup.place import BACKUPS, BEGUN, FILES, BackupPlace, path_of
from agentbus.storage.backup.spool import Spool
from agentbus.storage.folder import TEMPORARY

_FOLDERS: Final = frozenset({BACKUPS, FILES, BEGUN})
_EXTRA: Final = {
    True: "belongs to no backup: `agentbus backup prune` removes it",
    False: "is no file of a backup: nobody reads it",
}


@dataclass(frozen=True, slots=True)
class Checked:
    """How much was read and found right so far."""

    files: int
    size: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A file that is not as it should be."""

    path: str
    reason: str


async def verify(place: BackupPlace, backup_id: str | None = None) -> AsyncGenerator[Checked | Fault, None]:
    """Read all files of a backup, or of all backups; yield what was checked so far, and each fault.

    Of all backups it is told, too, which files belong to none. No key is needed. Raises BackupNotFound, and
    BackupUnavailable.
    """
    verifying = _Verifying(place)
    async with Spool() as seen, aclosing(verifying.run(seen, backup_id)) as steps:
        async for step in steps:
            yield step


class _Verifying:
    """One run."""

    def __init__(self, place: BackupPlace) -> None:
        self._place = place
        self._files = 0
        self._size = 0
        self._all_named = True
        """Whether it is known of every file whether something names it."""

    async def run(self, seen: Spool, backup_id: str | None) -> AsyncGenerator[Checked | Fault, None]:
        """Read what there is."""
        backups = [one for one in await self._place.backups() if backup_id in {None, one.backup_id}]
        if backup_id is not None and not backups:
            raise self._place.no_such(backup_id)
        for one in backups:
            if one.damage:
                self._all_named = False
                yield Fault(one.path, str(one.damage))
            if one.manifest:
                async with aclosing(self._backup(seen, one.manifest)) as steps:
                    async for step in steps:
                        yield step
        if backup_id is None:
            for fault in await self._extra(seen):
                yield fault
        yield Checked(self._files, self._size)

    async def _backup(self, seen: Spool, manifest: Manifest) -> AsyncGenerator[Checked | Fault, None]:
        for layer in manifest.layers:
            for page in layer.pages:
                fault = await self._file(seen, page)
                if fault:
                    self._all_named = False
                    yield fault
                    continue
                for group in await self._place.groups_of(page):
                    for fault in [await self._file(seen, ref) for ref in group.all]:
                        if fault:
                            yield fault
                    yield Checked(self._files, self._size)

    async def _file(self, seen: Spool, ref: FileRef) -> Fault | None:
        """Read a file, unless it was read already."""
        path = path_of(ref)
        if found := await seen.get([path]):
            return Fault(path, reason) if (reason := found[path]) else None
        try:
            await self._place.bytes_of(ref)
        except BackupDamaged as damage:
            await seen.put([(path, str(damage))])
            return Fault(path, str(damage))
        await seen.put([(path, "")])
        self._files += 1
        self._size += ref.size
        return None

    async def _extra(self, seen: Spool) -> Sequence[Fault]:
        """Return the files that nothing names. What is being written just now is somebody's."""
        folder = self._place.folder
        homes = [name for name, _ in await folder.names(FILES)]
        under_way = {one.backup_id for one in await all_begun(self._place)}
        found = [name for name, _ in await folder.names() if name not in _FOLDERS]
        named = {one.path for one in await self._place.backups()}
        manifests = [f"{BACKUPS}/{name}" for name, _ in await folder.names(BACKUPS) if not name.startswith(TEMPORARY)]
        found += [path for path in manifests if path not in named]
        for home in homes if self._all_named else ():
            if home not in under_way:
                paths = [f"{FILES}/{home}/{name}" for name, _ in await folder.names(f"{FILES}/{home}")]
                known = await seen.get(paths)
                found += [path for path in paths if path not in known]
        return [Fault(path, f"{path} {_EXTRA[path.startswith(FILES)]}") for path in found]
