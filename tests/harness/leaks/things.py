"""What a process holds at a moment: threads, open files, child processes and temporary folders."""

import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

# Linux tells all of it in files. Elsewhere only threads, folders and tasks are looked for. As texts: this is asked
# for twice in every test.
_PROCESS: Final = "/proc/self"

_KEPT_OPEN: Final = "/mpl-data/fonts/"
"""Matplotlib opens the fonts that it draws with once, for the life of the process."""

_FILES: Final = frozenset({"socket", "pipe", "event loop or selector", "open file"})

_LOOKS: Final = 100
_MOMENT: Final = 0.001
"""How often, and how many seconds apart, it is looked what a program is that has just begun."""


@dataclass(frozen=True)
class Thing:
    """One of them: the same at two moments if it is equal. `what` is for people to read."""

    kind: str
    key: str
    what: str = field(compare=False, default="")

    def __str__(self) -> str:
        return f"{self.kind} {self.what or self.key}"


def things() -> set[Thing]:
    """Return all that this process holds now."""
    return {*_threads(), *_open_files(), *_children(), *_temporary()}


def still(those: set[Thing]) -> set[Thing]:
    """Return which of them are there still; of files alone that takes a hundredth of what looking at all takes.

    Most of what is waited for are sockets of a MongoDB driver, which take half a second to go.
    """
    open_files = {thing for thing in those if thing.kind in _FILES and _is_open(thing)}
    others = {thing for thing in those if thing.kind not in _FILES}
    return open_files | (others & things() if others else others)


def _is_open(file: Thing) -> bool:
    number, _, target = file.key.partition(" ")
    try:
        return os.readlink(f"{_PROCESS}/fd/{number}") == target
    except OSError:
        return False


def _threads() -> Iterator[Thing]:
    for thread in set(threading.enumerate()) - _kept_by_motor():
        if _told_to_end(thread):
            continue
        yield Thing("thread", f"{thread.ident}", f"{thread.name} ({getattr(thread, '_target', None)})")


def _kept_by_motor() -> set[threading.Thread]:
    """Motor works in threads of one pool, which it keeps for the life of the process."""
    module = sys.modules.get("motor.frameworks.asyncio")
    return set() if module is None else module._EXECUTOR._threads


def _told_to_end(thread: threading.Thread) -> bool:
    """Whether it is one of PyMongo's that was told to end: it looks for that twice a second."""
    executor = getattr(getattr(thread, "_target", None), "__self__", None)
    return type(executor).__module__ == "pymongo.periodic_executor" and getattr(executor, "_stopped", False)


def _open_files() -> Iterator[Thing]:
    for number in _listed(f"{_PROCESS}/fd"):
        try:
            target = os.readlink(f"{_PROCESS}/fd/{number}")
        except OSError:
            continue  # the folder that was being listed
        if _KEPT_OPEN not in target:
            yield Thing(_kind_of(target), f"{number} {target}")


def _kind_of(target: str) -> str:
    match target.partition(":")[0]:
        case "socket" | "pipe" as kind:
            return kind
        case "anon_inode" if "eventpoll" in target:
            return "event loop or selector"
    return "open file"


def _children() -> Iterator[Thing]:
    threads = _listed(f"{_PROCESS}/task")
    for thread in threads if threads and _has_any() else ():
        for pid in _read(f"{_PROCESS}/task/{thread}/children").split():  # nothing if the thread has ended
            yield Thing("child process", _command(pid.decode()))


def _has_any() -> bool:
    """Whether this process has a child at all, of whichever thread: one call in place of a file for each thread."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _temporary() -> Iterator[Thing]:
    for name in _listed(tempfile.gettempdir()):
        yield Thing("temporary file", name)


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _read(path: str) -> bytes:
    """Return what is in a file of the kernel's; nothing if it is gone."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except OSError:
        return b""


def told(thing: Thing) -> str:
    """Say what a thing is in more words than are worth finding for each of them."""
    if thing.kind == "socket":
        return f"{thing}: {_ends(int(thing.key.partition(' ')[0]))}"
    return str(thing)


def _ends(number: int) -> str:
    """Return the two addresses of a socket."""
    try:
        with socket.socket(fileno=os.dup(number)) as same:
            return f"{same.getsockname()} to {_peer(same)}"
    except OSError as error:
        return str(error)


def _peer(same: socket.socket) -> object:
    try:
        return same.getpeername()
    except OSError:
        return "nobody"


def _command(pid: str) -> str:
    """Return the command line, which a service that was started again has in common with the one before.

    A program that has just begun has none for a moment: the kernel says that it runs before it says what.
    """
    for _ in range(_LOOKS):
        if (words := _read(f"/proc/{pid}/cmdline")) or _has_ended(pid):
            break
        time.sleep(_MOMENT)
    return words.replace(b"\0", b" ").decode(errors="replace").strip() or f"{pid} ended, and nobody waited for it"


def _has_ended(pid: str) -> bool:
    """Whether a process is a zombie, or gone."""
    return _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()[:1] in ([], [b"Z"], [b"X"])
