"""Writing so that a crash leaves whole files or none, and locks that end with the process."""

import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from agentbus.contracts.errors import StoreUnavailable
from agentbus.storage import private

LOCK_TIMEOUT: Final = 10.0
"""Seconds to wait for a lock. It is held for milliseconds, unless its process was stopped."""

LEFT_OVER: Final = 3600.0
"""Seconds after which a temporary file belongs to a process that is gone."""

_SYNCS_AT_ONCE: Final = 8
_SHORTEST_PAUSE: Final = 0.0005
_LONGEST_PAUSE: Final = 0.01


class Disk:
    """Writes files by way of the folder `temporary`, which must be on the same file system. Blocks."""

    def __init__(self, temporary: Path) -> None:
        self._temporary = temporary
        # The kernel puts syncs that wait at the same time into one: several threads are three times as fast as one.
        self._syncing = ThreadPoolExecutor(_SYNCS_AT_ONCE, thread_name_prefix="agentbus-files-sync")

    def close(self) -> None:
        """End the threads."""
        self._syncing.shutdown()

    def remove_left_overs(self) -> None:
        """Remove what processes that are gone left in the temporary folder."""
        since = time.time() - LEFT_OVER
        for name in os.listdir(self._temporary):
            path = self._temporary / name
            with suppress(FileNotFoundError):  # Another process may be doing the same.
                if path.lstat().st_mtime < since:
                    _remove(path)

    @contextmanager
    def temporaries(self) -> Iterator["Temporaries"]:
        """Give a place for files that are still to be put in theirs; what is left there at the end is removed."""
        files = Temporaries(self._temporary)
        try:
            yield files
        finally:
            files.remove()

    def discard(self, folder: Path) -> None:
        """Take a folder away with all in it, at once for everybody else. Raises FileNotFoundError if there is none."""
        with self.temporaries() as files:
            files.take(folder)
            private.sync(folder.parent)

    def sync(self, paths: Collection[Path]) -> None:
        """Wait until files and folders are on the disk as they are now."""
        if len(paths) == 1:
            private.sync(*paths)
        else:
            list(self._syncing.map(private.sync, paths))

    def put(self, path: Path, data: bytes, *, durable: bool = True) -> None:
        """Write a file, in place of what is there. One that need not be durable may be the old one after a crash."""
        with self.temporaries() as files:
            written = files.write(data)
            private.sync(written)
            written.rename(path)
        if durable:
            private.sync(path.parent)

    def point(self, path: Path, target: str) -> None:
        """Make `path` a symbolic link to `target`, in place of what is there."""
        try:
            path.symlink_to(target)
        except FileExistsError:
            with self.temporaries() as files:
                files.link(target).rename(path)


class Temporaries:
    """Files that are being written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: list[Path] = []

    def write(self, data: bytes) -> Path:
        """Write a file of `data`, which is not synced yet."""
        path = self._new()
        with open(path, "xb", opener=private.opener) as file:
            file.write(data)
        return path

    def link(self, target: str) -> Path:
        """Make a symbolic link to `target`."""
        path = self._new()
        path.symlink_to(target)
        return path

    def take(self, folder: Path) -> None:
        """Move a folder here."""
        folder.rename(self._new())

    def remove(self) -> None:
        """Remove what was not renamed."""
        for path in self._made:
            with suppress(OSError):  # The next start removes it.
                _remove(path)

    def _new(self) -> Path:
        path = self._folder / uuid.uuid4().hex
        self._made.append(path)
        return path


def _remove(path: Path) -> None:
    """Remove a file, a link, or a folder with all in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


@contextmanager
def locked(folders: Iterable[Path]) -> Iterator[None]:
    """Hold a lock on each of `folders`, against all other threads and processes.

    Raises StoreUnavailable if that takes longer than LOCK_TIMEOUT.
    """
    deadline = time.monotonic() + LOCK_TIMEOUT
    with ExitStack() as held:
        for folder in sorted(folders):  # In the same order everywhere, so that nobody waits in a circle.
            held.enter_context(_lock(folder, deadline))
        yield


@contextmanager
def _lock(folder: Path, deadline: float) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        pause = _SHORTEST_PAUSE
        while not _try_lock(descriptor):
            if time.monotonic() > deadline:
                raise StoreUnavailable(
                    f"another process holds the lock of {folder} for more than {LOCK_TIMEOUT:g} s: is it stopped?"
                )
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
