"""The files of a Slack export, in a zip or a folder; that of an Enterprise Grid has folders of teams in it.

The layout of Grid exports (`teams/TEAM/` with lists and channels, `org_users.json`) is as people describe it.
"""

import re
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agentbus.workers.importers.places import MAX_JSON_BYTES, files_in, members_of, open_zip, read_member
from agentbus.workers.importers.port import HistoryUnreadable

CHANNEL_LISTS: Final = ("channels.json", "groups.json", "mpims.json", "dms.json")
"""The files that list public and private channels, group and direct messages."""

USER_LISTS: Final = ("users.json", "org_users.json")
"""The files that list the people."""

_TEAM: Final = r"(?:teams/[^/]+/)?"
_DAY_FILE: Final = re.compile(rf"(?P<team>{_TEAM})(?P<folder>[^/]+)/\d{{4}}-\d\d-\d\d\.json")
_ANY_DAY_FILE: Final = re.compile(r"(?P<top>(?:[^/]+/)?)[^/]+/\d{4}-\d\d-\d\d\.json")
_LIST: Final = re.compile(rf"(?P<team>{_TEAM})(?P<name>[^/]+\.json)")
_MARKERS: Final = frozenset((*CHANNEL_LISTS, *USER_LISTS))


@dataclass(frozen=True, slots=True)
class DayFile:
    """A file with the messages of a channel's day."""

    team: str
    """The folder of the team, with a slash; nothing but in an export of a Grid."""
    folder: str
    """The channel's folder."""
    name: str


@dataclass(frozen=True, slots=True)
class SlackFiles:
    """What is in an export: names with `/` from its top, and a way to read them."""

    names: Collection[str]
    read: Callable[[str], bytes]

    def day_files(self) -> Iterator[DayFile]:
        """Yield the files with messages: by team, by folder, then by day."""
        matches = (_DAY_FILE.fullmatch(name) for name in self.names)
        found = sorted((day["team"], day["folder"], day[0]) for day in matches if day)
        yield from (DayFile(*one) for one in found)

    def lists(self, names: Collection[str]) -> Iterator[tuple[str, str]]:
        """Yield the team's folder and the name of each file that is called one of `names`."""
        matches = (_LIST.fullmatch(name) for name in sorted(self.names))
        yield from ((found["team"], found[0]) for found in matches if found and found["name"] in names)


@contextmanager
def open_export(path: Path) -> Generator[SlackFiles, None, None]:
    """Open an export; an empty file is one with nothing in it. Raises HistoryUnreadable if it is a broken zip."""
    if path.is_dir():
        yield SlackFiles(frozenset(files_in(path)), lambda name: _read_file(path, name))
    elif path.stat().st_size == 0:
        yield SlackFiles((), lambda _: b"")
    else:
        with open_zip(path) as archive:
            members = members_of(archive)
            top = slack_top(members) or ""
            names = frozenset(name.removeprefix(top) for name in members if name.startswith(top))
            yield SlackFiles(names, lambda name: read_member(archive, path, top + name))


def slack_top(names: Iterable[str]) -> str | None:
    """Return what stands before an export's own names: nothing, or a folder where one was zipped again.

    None for names that are of no export of Slack: neither one of its lists nor a channel's day is among them.
    """
    names = list(names)
    parted = (name.rpartition("/") for name in names)
    tops = {folder + slash for folder, slash, name in parted if name in _MARKERS}
    if tops:
        return min(tops, key=len)
    days = filter(None, (_ANY_DAY_FILE.fullmatch(name) for name in names))
    return min((day["top"] for day in days), key=len, default=None)


def _read_file(folder: Path, name: str) -> bytes:
    with (folder / name).open("rb") as file:
        content = file.read(MAX_JSON_BYTES + 1)
    if len(content) > MAX_JSON_BYTES:
        raise HistoryUnreadable.of(folder, f"more than {MAX_JSON_BYTES} bytes", name)
    return content
