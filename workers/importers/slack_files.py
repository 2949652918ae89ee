"""The files of a Slack export, in a zip or a folder."""

import re
import zipfile
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agentbus.workers.importers.source import open_zip

CHANNEL_LISTS: Final = ("channels.json", "groups.json", "mpims.json", "dms.json")
"""The files that list public and private channels, group and direct messages."""

USERS: Final = "users.json"
"""The file that lists the people."""

_DAY_FILE: Final = re.compile(r"(?P<folder>[^/]+)/\d{4}-\d\d-\d\d\.json")
_MARKERS: Final = frozenset((*CHANNEL_LISTS, USERS))


@dataclass(frozen=True, slots=True)
class SlackFiles:
    """What is in an export: names with `/` from its top, and a way to read them."""

    names: Collection[str]
    read: Callable[[str], bytes]

    def day_files(self) -> Iterator[tuple[str, str]]:
        """Yield the channel's folder and the name of each file with messages: by folder, then by day."""
        matches = (_DAY_FILE.fullmatch(name) for name in self.names)
        yield from sorted((found["folder"], found[0]) for found in matches if found)


@contextmanager
def open_export(path: Path) -> Generator[SlackFiles, None, None]:
    """Open an export; an empty file is one with nothing in it. Raises HistoryUnreadable if it is a broken zip."""
    if path.is_dir():
        names = {file.relative_to(path).as_posix() for pattern in ("*.json", "*/*.json") for file in path.glob(pattern)}
        yield SlackFiles(names, lambda name: (path / name).read_bytes())
    elif path.stat().st_size == 0:
        yield SlackFiles((), lambda _: b"")
    else:
        with open_zip(path) as archive:
            top = _top(archive.namelist()) or ""
            names = {name.removeprefix(top) for name in archive.namelist() if name.startswith(top)}
            yield SlackFiles(names, lambda name: archive.read(top + name))


def is_slack_folder(path: Path) -> bool:
    """Tell whether this folder was unpacked from a Slack export."""
    return any((path / name).is_file() for name in _MARKERS)


def is_slack_zip(path: Path) -> bool:
    """Tell whether this file is a Slack export. Raises HistoryUnreadable if it is a broken zip."""
    if not zipfile.is_zipfile(path):
        return False
    with open_zip(path) as archive:
        return _top(archive.namelist()) is not None


def _top(names: Iterable[str]) -> str | None:
    """Return what stands before the export's own names: nothing, or a folder where one was zipped again."""
    tops = {folder + slash for folder, slash, name in (name.rpartition("/") for name in names) if name in _MARKERS}
    return min(tops, key=len, default=None)
