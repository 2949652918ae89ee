"""The folder that an fsspec URL names: blocking calls, each made off the event loop."""

import asyncio
import errno
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import uuid4

from agentbus.contracts.base import to_utc_milliseconds
from agentbus.contracts.errors import AgentBusError, ConfigurationError
from agentbus.contracts.extras import importing_extras
from agentbus.contracts.urls import masked
from agentbus.storage import private
from agentbus.storage.cancelling import finished

T = TypeVar("T")

TEMPORARY: Final = "tmp-"
"""What names of files begin with that are being written."""

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True, slots=True)
class Kind:
    """What a folder is called in errors, and which these are."""

    name: str
    missing: type[AgentBusError]
    unavailable: type[AgentBusError]
    full: type[AgentBusError]
    """There is no room for what was to be written."""


class Folder:
    """Files below one folder. Paths given are relative to it; the caller makes them of checked names alone."""

    def __init__(self, url: str, options: Mapping[str, Any], kind: Kind) -> None:
        self.kind = kind
        # Slow to import, and most processes have no such folder.
        with importing_extras():
            import fsspec  # type: ignore[import-untyped] # noqa: PLC0415 - see above; it has no type hints
            from fsspec.implementations.local import (  # type: ignore[import-untyped] # noqa: PLC0415 - as above
                LocalFileSystem,
            )

        self.shown = masked(url) if "://" in url else url
        try:
            self._fs, root = fsspec.url_to_fs(url, **options)
        except (ValueError, ImportError, TypeError) as error:
            raise ConfigurationError(f"no {kind.name} can be opened at {self.shown}: {error}") from error
        self._root = root.rstrip("/")
        self._local = isinstance(self._fs, LocalFileSystem)
        if self._local:
            private.close_to_others(Path(self._root))

    def url(self, path: str) -> str:
        """Return the whole URL of a file, without credentials."""
        return str(self._fs.unstrip_protocol(self._whole(path)))

    async def call(self, work: Callable[[], T]) -> T:
        """Do blocking work in a thread. Raises the kind's error for a missing file, a full disk, and whatever else."""
        kind, where = self.kind, f"the {self.kind.name} {self.shown}"
        try:
            return await finished(asyncio.to_thread(work))
        except AgentBusError:
            raise
        except FileNotFoundError as error:
            raise kind.missing(f"there is no {error} in {where}") from error
        except Exception as error:  # Each kind of storage raises errors of its own.
            if isinstance(error, OSError) and error.errno in _FULL:
                raise kind.full(f"there is no room left in {where}: {error.strerror}") from error
            raise kind.unavailable(f"{where} can't be used: {error!r}") from error

    async def names(self, path: str = "") -> list[tuple[str, Mapping[str, Any]]]:
        """Return what is directly in a folder, by name, sorted; nothing if there is no such folder."""
        try:
            found = await self.call(partial(self._list, path))
        except self.kind.missing:
            return []
        named = ((str(one["name"]).rstrip("/").rpartition("/")[2], one) for one in found)
        return sorted(named, key=lambda item: item[0])

    def names_in(self, path: str) -> list[str]:
        """Return the names of what is directly in a folder; nothing if there is no such folder. Blocks."""
        try:
            return [str(one["name"]).rstrip("/").rpartition("/")[2] for one in self._list(path)]
        except FileNotFoundError:
            return []

    def details(self, path: str) -> Mapping[str, Any]:
        """Return what the storage tells of a file. Blocks."""
        whole = self._whole(path)
        self._fs.invalidate_cache(whole)
        return dict(self._fs.info(whole))

    def _list(self, path: str) -> list[Mapping[str, Any]]:
        whole = self._whole(path)
        self._fs.invalidate_cache(whole)
        return list(self._fs.ls(whole, detail=True))

    async def remove(self, path: str) -> bool:
        """Remove a file, or a folder with all that is in it; return whether there was one."""
        whole = self._whole(path)

        def remove() -> bool:
            self._fs.invalidate_cache()
            if not self._fs.exists(whole):
                return False
            with suppress(FileNotFoundError):  # Somebody else was faster.
                self._fs.rm(whole, recursive=True)
            return True

        return await self.call(remove)

    async def read(self, path: str, most: int | None = None) -> bytes:
        """Return a small file's bytes, `most` of them at the most. Raises the kind's error for a missing one."""
        return await self.call(partial(self.bytes_in, path, most))

    def bytes_in(self, path: str, most: int | None = None) -> bytes:
        """Return a small file's bytes as `read` does. Blocks."""
        return bytes(self._fs.cat_file(self._whole(path), 0, most))

    async def write(self, path: str, data: bytes) -> None:
        """Write a small file, whole or not at all."""
        await self.call(partial(self.put, path, data))

    def put(self, path: str, data: bytes) -> None:
        """Write a small file as `write` does. Blocks."""
        parent = path.rpartition("/")[0]
        temporary = f"{parent}/{TEMPORARY}{uuid4().hex}"
        self.make(parent)
        try:
            with self.open(temporary, "wb") as file:
                file.write(data)
                self.settle(file)
            self.move(temporary, path)
        except BaseException:
            self.try_to_discard(temporary)
            raise

    def make(self, path: str) -> None:
        """Make a folder and those above it. Blocks."""
        if self._local:
            private.make_folders(Path(self._whole(path)))
        else:
            self._fs.makedirs(self._whole(path), exist_ok=True)

    def open(self, path: str, mode: str) -> Any:
        """Open a file. Blocks."""
        if self._local and "w" in mode:
            private.make_file(Path(self._whole(path)))
        return self._fs.open(self._whole(path), mode)

    def settle(self, file: Any) -> None:
        """Wait until what was written is on the disk, where the disk is ours. Blocks."""
        if self._local:
            file.flush()
            os.fsync(file.fileno())

    def move(self, source: str, target: str) -> None:
        """Give a file its name, in place of what has it. Blocks."""
        self._fs.mv(self._whole(source), self._whole(target))
        self.settle_folder(target.rpartition("/")[0])

    def settle_folder(self, path: str) -> None:
        """Wait until what a folder has is on the disk, where the disk is ours and there is such a folder. Blocks."""
        whole = self._whole(path)
        if not self._local or not os.path.isdir(whole):
            return
        private.sync(Path(whole))

    def try_to_discard(self, path: str) -> None:
        """Remove a file that was begun, if it is there and that can be done: what failed is told already. Blocks."""
        with suppress(Exception):
            self.discard(path)

    def discard(self, path: str) -> None:
        """Remove a file. Blocks."""
        self._fs.rm_file(self._whole(path))

    def _whole(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root


def moment_of(details: Mapping[str, Any]) -> datetime:
    """Return when a file was written, as far as its storage tells: 1970 if it does not."""
    found = details.get("mtime") or details.get("LastModified") or details.get("created") or 0
    moment = found if isinstance(found, datetime) else datetime.fromtimestamp(float(found), UTC)
    return to_utc_milliseconds(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
