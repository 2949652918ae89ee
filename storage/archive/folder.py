"""The folder that an fsspec URL names: blocking calls, each made off the event loop."""

import asyncio
import gzip
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import uuid4

from agentbus.contracts.base import to_utc_milliseconds
from agentbus.contracts.errors import AgentBusError, ArchiveNotFound, ArchiveUnavailable, ConfigurationError
from agentbus.contracts.extras import importing_extras
from agentbus.contracts.urls import masked
from agentbus.storage import private
from agentbus.storage.archive.entries import TEMPORARY
from agentbus.storage.cancelling import finished

T = TypeVar("T")

_LEVEL: Final = 6
"""zlib's own default: a level more costs time and saves about 1 %."""


class Folder:
    """Files below one folder. Paths given are relative to it; the caller makes them of checked names alone."""

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        # Slow to import, and most processes have no archive.
        with importing_extras():
            import fsspec  # type: ignore[import-untyped] # noqa: PLC0415 - see above; it has no type hints
            from fsspec.implementations.local import (  # type: ignore[import-untyped] # noqa: PLC0415 - as above
                LocalFileSystem,
            )

        self.shown = masked(url) if "://" in url else url
        try:
            self._fs, root = fsspec.url_to_fs(url, **options)
        except (ValueError, ImportError, TypeError) as error:
            raise ConfigurationError(f"no archive can be opened at {self.shown}: {error}") from error
        self._root = root.rstrip("/")
        self._local = isinstance(self._fs, LocalFileSystem)
        if self._local:
            private.close_to_others(Path(self._root))

    def url(self, path: str) -> str:
        """Return the whole URL of a file, without credentials."""
        return str(self._fs.unstrip_protocol(self._whole(path)))

    async def call(self, work: Callable[[], T]) -> T:
        """Do blocking work in a thread. Raises ArchiveNotFound for a missing file, else ArchiveUnavailable."""
        try:
            return await finished(asyncio.to_thread(work))
        except AgentBusError:
            raise
        except FileNotFoundError as error:
            raise ArchiveNotFound(f"there is no {error} in the archive {self.shown}") from error
        except Exception as error:  # Each kind of storage raises errors of its own.
            raise ArchiveUnavailable(f"the archive {self.shown} can't be used: {error!r}") from error

    async def names(self, path: str = "") -> list[tuple[str, Mapping[str, Any]]]:
        """Return what is directly in a folder, by name, sorted; nothing if there is no such folder."""
        try:
            found = await self.call(partial(self._list, path))
        except ArchiveNotFound:
            return []
        named = ((str(one["name"]).rstrip("/").rpartition("/")[2], one) for one in found)
        return sorted(named, key=lambda item: item[0])

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

    async def read(self, path: str) -> bytes:
        """Return a small file's bytes. Raises ArchiveNotFound."""
        return bytes(await self.call(partial(self._fs.cat_file, self._whole(path))))

    async def write(self, path: str, data: bytes) -> None:
        """Write a small file, whole or not at all."""

        def write() -> None:
            parent = path.rpartition("/")[0]
            temporary = f"{parent}/{TEMPORARY}{uuid4().hex}"
            self.make(parent)
            with self.open(temporary, "wb") as file:
                file.write(data)
                self.settle(file)
            self.move(temporary, path)

        await self.call(write)

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
        if self._local:
            descriptor = os.open(os.path.dirname(self._whole(target)), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def discard(self, path: str) -> None:
        """Remove a file. Blocks."""
        self._fs.rm_file(self._whole(path))

    def _whole(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root


class Writing:
    """A gzip file that is being written under a temporary name. Its methods block."""

    def __init__(self, folder: Folder, parent: str, encrypting: Callable[[Any], Any] | None = None) -> None:
        self._folder = folder
        self._parent = parent
        self._path = f"{parent}/{TEMPORARY}{uuid4().hex}"
        folder.make(parent)
        self._raw = folder.open(self._path, "wb")
        self._encrypted = encrypting(self._raw) if encrypting else None
        # No name and no time: the same lines give the same bytes.
        self._zip = gzip.GzipFile(
            filename="", mode="wb", compresslevel=_LEVEL, fileobj=self._encrypted or self._raw, mtime=0
        )

    def write(self, data: bytes) -> None:
        """Add to the file."""
        self._zip.write(data)

    def finish(self, name: str) -> None:
        """End the file and give it its name."""
        self._zip.close()
        if self._encrypted:
            self._encrypted.close()
        self._folder.settle(self._raw)
        self._raw.close()
        self._folder.move(self._path, f"{self._parent}/{name}")

    def abandon(self) -> None:
        """Take away what was written."""
        with suppress(Exception):  # What failed is told already; a left-over goes with the session's folder.
            self._zip.close()
            self._raw.close()
        with suppress(Exception):
            self._folder.discard(self._path)


def moment_of(details: Mapping[str, Any]) -> datetime:
    """Return when a file was written, as far as its storage tells: 1970 if it does not."""
    found = details.get("mtime") or details.get("LastModified") or details.get("created") or 0
    moment = found if isinstance(found, datetime) else datetime.fromtimestamp(float(found), UTC)
    return to_utc_milliseconds(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
