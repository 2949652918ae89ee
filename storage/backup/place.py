"""The place of backups: a folder that any fsspec URL names, with what is in it.

`backups/<id>.<digest>.json` is the manifest of a finished backup, `files/<id>/` holds what was written for it,
`begun/<id>.json` says how far one is that is not finished. Files of all kinds are named by their own SHA-256, but for
the last: that one is nobody's backup yet.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import BaseModel

from agentbus.contracts.backup import BACKUP_ID, BackupFormat, FileRef, Group, Manifest
from agentbus.contracts.errors import (
    BackupDamaged,
    BackupFull,
    BackupNotFound,
    BackupRefused,
    BackupUnavailable,
    ConfigurationError,
    StoreDamaged,
)
from agentbus.storage.backup import encoding
from agentbus.storage.backup.pickled import SHORTEST_KEY
from agentbus.storage.folder import Folder, Kind

if TYPE_CHECKING:
    from agentbus.storage.encryption import DataKey, DataKeys

FORMAT: Final = "agentbus.backup"
VERSION: Final = 1

BACKUPS: Final = "backups"
FILES: Final = "files"
BEGUN: Final = "begun"

KEY_SETTING: Final = "AGENTBUS_BACKUP_KEY"

_LARGEST_MANIFEST: Final = 64 << 20
_KIND: Final = Kind("place of the backups", BackupNotFound, BackupUnavailable, full=BackupFull)
_MANIFEST: Final = re.compile(rf"({BACKUP_ID})\.([0-9a-f]{{64}})\.json")

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Listed:
    """A finished backup, as it is found."""

    backup_id: str
    path: str
    manifest: Manifest | None
    damage: BackupDamaged | None
    """Why its manifest can't be read."""


def open_backups(
    url: str,
    options: Mapping[str, Any] | None = None,
    *,
    signing: str | None = None,
    keys: "DataKeys | None" = None,
) -> "BackupPlace":
    """Return the backups at an fsspec URL: `file:///folder`, `memory://name`, `s3://bucket/folder`, ...

    `options` go to the file system (fsspec's storage options). `signing` is the key that pickles are signed with;
    `keys` are the data keys of the store, if it has any. Raises ConfigurationError for a URL whose kind is not known,
    whose driver is not installed, and for a key that is too short.
    """
    if signing is not None and len(signing) < SHORTEST_KEY:
        raise ConfigurationError(f"{KEY_SETTING} is too short: it needs {SHORTEST_KEY} characters at the least")
    return BackupPlace(Folder(url, options or {}, _KIND), signing.encode() if signing else None, keys)


def path_of(ref: FileRef) -> str:
    """Return where a file is, within the place."""
    return f"{FILES}/{ref.home}/{ref.digest}.{encoding.SUFFIXES[ref.format]}{'.enc' if ref.encrypted else ''}"


class BackupPlace:
    """Where backups are. Any number of processes may use the same.

    Every call may raise BackupUnavailable: the same call may be made again.
    """

    def __init__(self, folder: Folder, signing: bytes | None, keys: "DataKeys | None") -> None:
        self.folder = folder
        self.keys = keys
        self._signing = signing

    @property
    def shown(self) -> str:
        """The place's URL, without credentials."""
        return self.folder.shown

    # Finished backups

    async def backups(self) -> list[Listed]:
        """Return all finished backups, the latest first; those whose manifest is damaged too."""
        found = [await self._listed(name, told) for name, told in await self._manifests()]
        return sorted(found, key=lambda one: one.backup_id, reverse=True)

    async def finished(self) -> frozenset[str]:
        """Return the ids of all finished backups."""
        return frozenset(told[0] for _, told in await self._manifests())

    async def manifest(self, backup_id: str) -> Manifest:
        """Return what a backup is. Raises BackupNotFound for one that is not there or not finished, BackupDamaged."""
        damage: BackupDamaged | None = None
        for name, told in await self._manifests():
            if told[0] == backup_id:
                listed = await self._listed(name, told)
                if listed.manifest:
                    return listed.manifest
                damage = listed.damage
        if damage:
            raise damage
        raise self.no_such(backup_id)

    def no_such(self, backup_id: str) -> BackupNotFound:
        """Return the error for a backup that is not there."""
        return BackupNotFound(f"there is no backup {backup_id!r:.60} in {self.shown}; see: agentbus backup list")

    async def latest(self) -> Manifest | None:
        """Return the latest backup that can be read, or None."""
        return next((one.manifest for one in await self.backups() if one.manifest), None)

    async def finish(self, manifest: Manifest) -> None:
        """Let a backup be a finished one: all of its files are there."""
        for path in (f"{FILES}/{manifest.backup_id}", FILES, ""):
            await self.folder.call(partial(self.folder.settle_folder, path))
        data = manifest.model_dump_json(indent=1).encode() + b"\n"
        name = f"{manifest.backup_id}.{hashlib.sha256(data).hexdigest()}.json"
        await self.folder.write(f"{BACKUPS}/{name}", data)

    async def forget(self, backup_id: str) -> bool:
        """Let a backup be none any more, and return whether it was one. Its files stay until they are swept."""
        removed = False
        for name, told in await self._manifests():
            if told[0] == backup_id:
                removed |= await self.folder.remove(f"{BACKUPS}/{name}")
        return removed

    async def _manifests(self) -> list[tuple[str, tuple[str, str]]]:
        names = [name for name, _ in await self.folder.names(BACKUPS)]
        return [(name, (found[1], found[2])) for name in names if (found := _MANIFEST.fullmatch(name))]

    async def _listed(self, name: str, told: tuple[str, str]) -> Listed:
        path = f"{BACKUPS}/{name}"
        backup_id, digest = told
        try:
            data = await self.folder.read(path, _LARGEST_MANIFEST)
            if hashlib.sha256(data).hexdigest() != digest:
                raise BackupDamaged(f"{path} is damaged: its bytes are not those that were written", file=path)
            return Listed(backup_id, path, _manifest_in(data, backup_id, path), None)
        except BackupDamaged as damage:
            return Listed(backup_id, path, None, damage)

    # Files

    async def write(
        self,
        home: str,
        lines: list[bytes],
        form: BackupFormat = BackupFormat.JSON,
        *,
        key: "DataKey | None" = None,
        known: Callable[[str], FileRef | None] = lambda _digest: None,
    ) -> FileRef:
        """Write a file of lines, whole or not at all, and return what names it: of one that is `known`, that one.

        Raises BackupFull, BackupRefused without the key to sign with.
        """
        plain = sum(len(line) + 1 for line in lines)

        def write() -> FileRef:
            written = encoding.encode(lines, form, self._signing, key)
            ref = FileRef(
                home=home,
                digest=written.digest,
                format=form,
                encrypted=key is not None,
                size=len(written.data),
                plain=plain,
                lines=len(lines),
            )
            if (there := known(written.digest)) and self._is_sound(there, written.data):
                return there
            self.folder.put(path_of(ref), written.data)
            return ref

        return await self.folder.call(write)

    def _is_sound(self, ref: FileRef, data: bytes) -> bool:
        """Whether a file of an earlier backup holds what it has to: a damaged one is nothing to build on. Blocks."""
        with suppress(Exception):  # Missing, or it can't be read: then it is written once more.
            return self.folder.bytes_in(path_of(ref), ref.size + 1) == data
        return False

    async def read(self, ref: FileRef, keys: "DataKeys | None" = None) -> list[bytes]:
        """Return the lines of a file, each of its bytes checked.

        Raises BackupDamaged, naming the file, if it is missing or another one; BackupRefused if a key is missing.
        """
        path = path_of(ref)
        data = await self.bytes_of(ref)
        if ref.encrypted:
            key = await _key_of(encoding.key_name(data, path), keys or self.keys, path)
            data = encoding.decrypt(data, key, path)
        return await self.folder.call(partial(encoding.decode, data, ref, path, self._signing))

    async def bytes_of(self, ref: FileRef) -> bytes:
        """Return the bytes of a file, checked. Raises BackupDamaged, naming it."""
        path = path_of(ref)
        try:
            data = await self.folder.read(path, ref.size + 1)
        except BackupNotFound as error:
            raise BackupDamaged(f"{path} is missing", file=path) from error
        await self.folder.call(partial(encoding.check, data, ref, path))
        return data

    async def groups_of(self, page: FileRef) -> list[Group]:
        """Return the groups that a page lists. Raises BackupDamaged."""
        path = path_of(page)
        return [read_line(Group, line, path) for line in await self.read(page)]


def read_line(model: type[Model], line: bytes, where: str) -> Model:
    """Return what a line says. Raises BackupDamaged, naming `where` it is."""
    try:
        return model.model_validate_json(line)
    except (ValueError, RecursionError) as error:
        what = type(error).__name__
        raise BackupDamaged(f"{where}: a line says what this release can't read: {what}", file=where) from None


def _manifest_in(data: bytes, backup_id: str, where: str) -> Manifest:
    manifest = read_line(Manifest, data, where)
    if manifest.format != FORMAT or manifest.version != VERSION or manifest.backup_id != backup_id:
        raise BackupDamaged(f"{where} is no manifest that this release can read (format {VERSION})", file=where)
    return manifest


async def _key_of(name: str, keys: "DataKeys | None", where: str) -> "DataKey":
    from agentbus.storage.encryption import SETTING, DataKey  # noqa: PLC0415 - most backups are not encrypted

    if keys is None:
        raise BackupRefused(f"{where} is encrypted: give the master keys by {SETTING}")
    key = (await keys.to_decrypt([name]))[name]
    if isinstance(key, StoreDamaged):
        raise BackupRefused(f"{where} is encrypted: {key}") from key
    if not isinstance(key, DataKey):
        raise BackupRefused(f"{where} can't be read any more: its key was destroyed")
    return key
