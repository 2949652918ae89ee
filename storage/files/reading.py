"""Reading JSON files, and remembering what was read as long as the file stays the same."""

import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, Field

from agentbus.contracts.errors import StoreDamaged
from agentbus.contracts.history import Page
from agentbus.contracts.parked import ParkedInput
from agentbus.contracts.session import SessionState
from agentbus.storage.damage import REBUILD, RESTORE, read_as, tell
from agentbus.storage.files.layout import SETTLED_NS
from agentbus.storage.paging import CursorKind, encode_cursor

_Model = TypeVar("_Model", bound=BaseModel)
_Item = TypeVar("_Item")
_Stamp = tuple[int, int, int]


def pretty(model: BaseModel) -> bytes:
    """Return a contract as JSON for people."""
    return model.model_dump_json(indent=2).encode() + b"\n"


def read(path: Path | str, kind: type[_Model]) -> _Model | None:
    """Read a JSON file, without the fields of a later release; None if there is none. Raises StoreDamaged."""
    found = _read(path, kind)
    return None if found is None else found[1]


def read_if_sound(path: Path | str, kind: type[_Model]) -> _Model | None:
    """Read a JSON file, or nothing if it is damaged, which is told: for what can do without."""
    try:
        return read(path, kind)
    except StoreDamaged as damage:
        tell(damage)
        return None


def page_named(
    kind: CursorKind, names: Sequence[str], limit: int, read_one: Callable[[str], _Item | None]
) -> Page[_Item]:
    """Make a page of what the first `limit` names lead to, if it is still there; one more says that there is more.

    Raises StoreDamaged for what can't be read, with the cursor behind it in the details.
    """
    items: list[_Item] = []
    for name in names[:limit]:
        try:
            item = read_one(name)
        except StoreDamaged as damage:
            damage.details["cursor"] = encode_cursor(kind, name)
            raise
        if item is not None:
            items.append(item)
    return Page(items=tuple(items), cursor=encode_cursor(kind, names[limit - 1]) if len(names) > limit else None)


class KeptParked(ParkedInput):
    """A parked input as its `details.json` says; its body is a file of its own."""

    body: bytes = Field(default=b"", exclude=True)
    body_bytes: int = Field(ge=0, description="The size of the file of its body.")


class Remembered(Generic[_Model]):
    """Reads all files of one kind, those that are still the same from memory."""

    def __init__(self, kind: type[_Model]) -> None:
        self._kind = kind
        self._known: dict[str, tuple[_Stamp, _Model]] = {}
        self._turn = threading.Lock()

    def read_all(self, paths: Iterable[str]) -> list[_Model]:
        """Read the files at all of `paths`, passing over those that are not there or are damaged."""
        with self._turn:
            found = {path: model for path in paths if (model := self._read_if_sound(path)) is not None}
            for gone in self._known.keys() - found.keys():
                del self._known[gone]
        return list(found.values())

    def _read_if_sound(self, path: str) -> _Model | None:
        try:
            return self._read_again(path)
        except StoreDamaged as damage:
            tell(damage)
            return None

    def _read_again(self, path: str) -> _Model | None:
        try:
            stamp = _stamp(os.stat(path))
        except FileNotFoundError:
            return None
        if (known := self._known.get(path)) and known[0] == stamp:
            return known[1]
        if (found := _read(path, self._kind)) is None:
            return None
        # A file may be replaced twice in one tick of the clock, by one of the same size and in the place of the first.
        if time.time_ns() - found[0][0] > SETTLED_NS:
            self._known[path] = found
        return found[1]


def _read(path: Path | str, kind: type[_Model]) -> tuple[_Stamp, _Model] | None:
    try:
        with open(path, "rb") as file:
            stamp, text = _stamp(os.fstat(file.fileno())), file.read()
    except FileNotFoundError:
        return None
    except (IsADirectoryError, NotADirectoryError) as error:
        raise StoreDamaged(f"{os.path.realpath(path)} is damaged: {error.strerror}: {RESTORE}") from None
    place = os.path.realpath(path)  # Not a link to it.
    advice = REBUILD if kind is SessionState else RESTORE
    return stamp, read_as(place, lambda kept: kind.model_validate_json(kept, extra="ignore"), text, advice)


def _stamp(status: os.stat_result) -> _Stamp:
    return status.st_mtime_ns, status.st_size, status.st_ino
