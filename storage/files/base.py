"""Opening the folder, and the threads that the sections of the store run in."""

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import unquote

from pydantic import Field

from agentbus.contracts.base import Announced
from agentbus.contracts.errors import ConfigurationError, StoreRejected, StoreUnavailable
from agentbus.storage import private
from agentbus.storage.cancelling import finished
from agentbus.storage.files.disk import Disk, locked
from agentbus.storage.files.errors import store_errors
from agentbus.storage.files.layout import LAYOUT_VERSION, Layout, make_folders
from agentbus.storage.files.reading import pretty, read
from agentbus.storage.port import StoreInfo, StoreOptions

AT_ONCE: Final = 64
"""How many conversations one thread locks at once: an open file each, of which a process may often have 1024."""

_CALLS_AT_ONCE: Final = 8

TURN_TIMEOUT: Final = 10.0
"""Seconds that a call waits for a thread. Then it waits for the locks of other programs: so that one that can't go on
ends after 20 s, however many wait."""

_NOBODYS: Final = frozenset({"lost+found", ".DS_Store"})
_Answer = TypeVar("_Answer")


class _Marker(Announced):
    """What `store.json` says."""

    layout: int = Field(description="The version of the layout.")


class Folder:
    """The folder that the sections of a file store share.

    Every call is one piece of work for a thread. The clock is this machine's.
    """

    def __init__(self, url: str, _options: StoreOptions) -> None:
        path = unquote(url.partition("://")[2])
        if not path or "\0" in path or "?" in url or "#" in url:
            raise ConfigurationError("a file URL is like file:///absolute/folder or file://relative/folder")
        self.layout = Layout(Path(path).absolute())
        self._target = f"folder {self.layout.root}"
        self.disk = Disk(self.layout.temporary)
        self._threads: ThreadPoolExecutor | None = None

    async def start(self) -> None:
        if self._threads is None:
            with store_errors(self._target):
                await finished(asyncio.to_thread(self._open))
            self._threads = ThreadPoolExecutor(_CALLS_AT_ONCE, thread_name_prefix="agentbus-files")

    def _open(self) -> None:
        self.disk = Disk(self.layout.temporary)
        make_folders(self.layout.root)
        private.close_to_others(self.layout.root)
        with locked([self.layout.root]):
            marker = read(self.layout.marker, _Marker)
            if marker is None:
                self._claim()
            elif marker.layout != LAYOUT_VERSION:
                raise StoreRejected(
                    f"{self._target} has layout {marker.layout}, this release has layout {LAYOUT_VERSION}: "
                    "use the release that wrote it, or another folder"
                )
        self.disk.remove_left_overs()
        with self.disk.temporaries() as files:
            files.write(b"")  # To find out at once whether that is possible.

    def _claim(self) -> None:
        """Make a store of an empty folder."""
        root = self.layout.root
        ours = {folder.name for folder in self.layout.folders} | _NOBODYS
        if others := sorted(set(os.listdir(root)) - ours):
            raise StoreRejected(f"{self._target} is no store, and holds {others[0]}: choose an empty or a new folder")
        make_folders(*self.layout.folders)
        self.disk.put(self.layout.marker, pretty(_Marker(layout=LAYOUT_VERSION)))
        self.disk.sync([root.parent])

    async def close(self) -> None:
        threads, self._threads = self._threads, None
        if threads is not None:
            await asyncio.to_thread(threads.shutdown)
            self.disk.close()

    async def info(self) -> StoreInfo:
        def look() -> StoreInfo:
            return StoreInfo(kind="files", version=f"layout {LAYOUT_VERSION}", server_time=datetime.now(UTC))

        return await self.call(look)

    async def call(self, work: Callable[[], _Answer]) -> _Answer:
        """Do `work` in a thread."""
        if self._threads is None:
            raise StoreRejected(f"{self._target} is not open: call start() first")
        with store_errors(self._target):
            latest = time.monotonic() + TURN_TIMEOUT
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._work, work, latest)

    def _work(self, work: Callable[[], _Answer], latest: float) -> _Answer:
        """Do `work`, unless a thread was free for it too late."""
        if time.monotonic() > latest:
            raise StoreUnavailable(
                f"{self._target} does not answer: the calls before this one have not ended in {TURN_TIMEOUT:g} s: "
                "does a program that is stopped hold its locks?"
            )
        if not self.layout.marker.exists():  # Without it, all conversations would seem to be new.
            raise StoreRejected(f"{self._target} is a store no more: is its disk mounted?")
        return work()


class FileSection:
    """A section of a file store."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
