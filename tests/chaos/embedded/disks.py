"""Disks: a small one of its own, which can be filled up, and what is on it, which can be locked."""

import asyncio
import os
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Final

from agentbus.storage.files.disk import locked

SMALL: Final = 64
"""Megabytes of a small disk."""

_CHUNK: Final = 64 * 1024


def can_be_made() -> bool:
    """Whether this user may make disks."""
    return os.geteuid() == 0


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Put a disk in memory at `folder`, of SMALL megabytes. Raises CalledProcessError if this user may not."""
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={SMALL}m", "tmpfs", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True)


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Leave no room on the disk at `folder`."""
    filler = folder.parent / folder.name / "filler"
    try:
        with filler.open("wb", buffering=0) as file:
            for size in (_CHUNK, 4096, 1):
                _fill(file.fileno(), size)
        yield
    finally:
        filler.unlink()


def _fill(descriptor: int, size: int) -> None:
    while True:
        try:
            os.write(descriptor, b"\0" * size)
        except OSError:
            return


@asynccontextmanager
async def database_locked(file: Path) -> AsyncIterator[None]:
    """Hold the write lock of a SQLite database, as a backup or a person with a shell would."""
    with closing(sqlite3.connect(file, timeout=30.0, isolation_level=None, check_same_thread=False)) as connection:
        await asyncio.to_thread(connection.execute, "BEGIN IMMEDIATE")
        yield


@asynccontextmanager
async def folders_locked(root: Path) -> AsyncIterator[None]:
    """Hold the locks of all conversations' folders, and that of the locks, as a process that was stopped would."""
    conversations = [path for path in (root / "conversations").glob("*/*") if path.is_dir()]
    with ExitStack() as held:
        await asyncio.to_thread(held.enter_context, locked([*conversations, root / "locks"]))
        yield
