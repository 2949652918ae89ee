"""Where everything is: names of files, and the folders that they are in."""

import hashlib
import os
import re
import time
from bisect import bisect_right
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from agentbus.contracts.ids import ConversationId, SessionId
from agentbus.storage import private

LAYOUT_VERSION: Final = 1
"""The version of the layout, kept in `store.json`."""

JSON: Final = ".json"

_UNSAFE: Final = re.compile(rb"[^a-z0-9_\-.]")
_LONGEST_NAME: Final = 200
_SHOWN: Final = 120
COMMITS_PER_FOLDER: Final = 1000

SETTLED_NS: Final = 100_000_000
"""The age from which on the moment of a change is trusted: clocks of file systems tick every few milliseconds."""


def file_name(text: str) -> str:
    """Return a file name for any text; different texts have different names, also where case does not count.

    Lower-case ASCII letters, digits and `_-.` stay, all other bytes of the UTF-8 text (and a dot at its beginning)
    become `%` and two hexadecimal digits. Long names end in `~` and a digest of the text in place of the rest of it.
    """
    raw = text.encode("utf-8", "surrogatepass")
    name = _UNSAFE.sub(lambda found: b"%%%02x" % found[0][0], raw).decode("ascii")
    if len(name) > _LONGEST_NAME:
        return f"{name[:_SHOWN]}~{hashlib.blake2b(raw, digest_size=16).hexdigest()}"
    if name.startswith("."):
        return f"%2e{name[1:]}"
    return name or "%"


class Layout:
    """The folders and files of a store in the folder `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.marker = root / "store.json"
        self.temporary = root / "tmp"
        self.conversations = root / "conversations"
        self.heads = root / "heads"
        self.parked = root / "parked"
        self.members = root / "members"
        self.epochs = root / "epochs"
        self.trials = root / "trials"
        self.records = root / "records"
        self.groups = root / "groups"
        self.locks = root / "locks"
        self.folders = (
            self.temporary,
            self.conversations,
            self.heads,
            self.parked,
            self.members,
            self.epochs,
            self.trials,
            self.records,
            self.groups,
            self.locks,
        )

    def conversation(self, conversation: ConversationId) -> "ConversationFolder":
        """Return the folder of a conversation."""
        name = file_name(conversation)
        return ConversationFolder(self.conversations / name[:2] / name)

    def head(self, session: SessionId) -> Path:
        """Return the file of a session's head."""
        return self.heads / (file_name(session) + JSON)


def make_folders(*folders: Path) -> None:
    """Make those of `folders` that are missing. The folder above each must be there by then."""
    for folder in folders:
        with suppress(FileExistsError):
            folder.mkdir(private.FOLDER)


def names_in(folder: Path) -> list[str]:
    """Return the names of what is in a folder; of none if there is no such folder."""
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


class Names:
    """The names of the JSON files in a folder, without their endings, or what they are `named` after: each once.

    They are kept, and listed anew when the folder has changed: who goes through many, page by page, lists them once.
    """

    def __init__(self, named: Callable[[str], str] = str) -> None:
        self._named = named
        self._kept: tuple[Path, int, list[str]] | None = None

    def after(self, folder: Path, name: str, count: int | None = None) -> list[str]:
        """Return the first `count` names that come after one, in order; all of them without it."""
        names = self._all(folder)
        first = bisect_right(names, name)
        return names[first:] if count is None else names[first : first + count]

    def _all(self, folder: Path) -> list[str]:
        now = time.time_ns()
        try:
            changed = folder.stat().st_mtime_ns
        except FileNotFoundError:
            return []
        if (kept := self._kept) and kept[:2] == (folder, changed):
            return kept[2]
        names = sorted({self._named(name.removesuffix(JSON)) for name in names_in(folder) if name.endswith(JSON)})
        # What changes from here on changes the moment as well, unless the clock has not ticked since it changed.
        if now - changed > SETTLED_NS:
            self._kept = folder, changed, names
        return names


class ConversationFolder:
    """The folders and files of a conversation."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = path / "log"
        self.inputs = path / "inputs"
        self.amends = path / "amends"
        self.latest = path / "latest"

    def make(self) -> None:
        """Make the folder, if it is not there."""
        make_folders(self.path.parent, self.path)

    def entries(self) -> tuple[Path, Path, Path]:
        """Return the folder, and those above it that must be synced for it not to get lost."""
        return self.path, self.path.parent, self.path.parent.parent

    def commit(self, version: int) -> Path:
        """Return the file of a commit."""
        return self.log / f"{folder_of(version):06}" / f"{version:09}{JSON}"

    def input(self, input_id: str) -> Path:
        """Return the link from an input to its commit."""
        return self.inputs / file_name(input_id)

    def amending(self, target: str) -> Path:
        """Return the folder of the links to the commits that amend a message."""
        return self.amends / file_name(target)


def folder_of(version: int) -> int:
    """Return the number of the folder that holds a commit."""
    return version // COMMITS_PER_FOLDER
