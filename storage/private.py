"""Folders and files of this machine that nobody but their owner reads."""

import os
from pathlib import Path
from typing import Final

FOLDER: Final = 0o700
FILE: Final = 0o600

_OTHERS: Final = 0o007
_OWNER: Final = 0o700


def opener(path: str, flags: int) -> int:
    """Open a file as `open(..., opener=opener)` does; one that is made is its owner's alone."""
    return os.open(path, flags, FILE)


def make_file(path: Path) -> None:
    """Make an empty file, its owner's alone; one that is there stays as it is."""
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, FILE))


def make_folders(path: Path) -> None:
    """Make a folder, and those above it that are missing, their owner's alone; their names are on the disk then."""
    if not path.is_dir():
        make_folders(path.parent)
        path.mkdir(FOLDER, exist_ok=True)
        sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file, or what a folder has, is on the disk as it is now."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def close_to_others(path: Path) -> None:
    """Take a file or folder away from everybody else if it is open to all, as an earlier release left it.

    One that is open to a group alone was made so on purpose, and stays so. Does nothing where there is none, or where
    it is somebody else's.
    """
    try:
        mode = path.stat().st_mode
        if mode & _OTHERS:
            path.chmod(mode & _OWNER)
    except OSError:  # Whoever uses it finds out, and says what is wrong.
        return
