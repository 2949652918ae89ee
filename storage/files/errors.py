"""What the operating system's errors mean. What is worth retrying is declared here as data."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from agentbus.contracts.errors import StoreRejected, StoreUnavailable

TRANSIENT: Final = {
    errno.ENOSPC: "make room on its disk",
    errno.EDQUOT: "make room: this user's share of the disk is used up",
    errno.EMFILE: "let this process open more files (ulimit -n)",
    errno.ENFILE: "let the system open more files",
    errno.ENOMEM: "make room in memory",
    errno.EIO: "look after its disk",
    errno.EAGAIN: "try again",
    errno.EINTR: "try again",
}
"""Errors that may pass by themselves or once an operator made room, and what to do about them."""

ADVICE: Final = {
    errno.EACCES: "give this user the right to write the folder and all in it",
    errno.EPERM: "give this user the right to write the folder and all in it",
    errno.EROFS: "its file system may only be read: mount it for writing, or choose another folder",
    errno.ENOENT: "check that the folder above it exists, and that its disk is mounted",
    errno.ENOTDIR: "a part of the path is a file: choose another folder",
    errno.EBADF: "the file system has no flock on folders, as NFS: choose a folder on a local disk",
    errno.ENOLCK: "the file system has no locks: choose a folder on a local disk",
    errno.EOPNOTSUPP: "the file system has no locks or links: choose a folder on a local disk",
}
"""What to do about the errors that retrying does not cure."""


@contextmanager
def store_errors(target: str) -> Iterator[None]:
    """Turn the operating system's errors into StoreUnavailable or StoreRejected."""
    try:
        yield
    except OSError as error:
        if advice := TRANSIENT.get(error.errno or 0):
            raise StoreUnavailable(f"{target} does not answer: {error}: {advice}") from error
        advice = ADVICE.get(error.errno or 0, "the operating system refuses the operation")
        raise StoreRejected(f"{target}: {error}: {advice}") from error
