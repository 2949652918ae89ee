"""Reading JSON files, and remembering what was read as long as the file stays the same."""

import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Generic, TypeVar

from pydantic import BaseModel, Field, ValidationError

from contracts.errors import StoreRejected
from contracts.parked import ParkedInput

_Model = TypeVar("_Model", bound=BaseModel)
_Stamp = tuple[int, int, int]

_SETTLED_NS: Final = 100_000_000
"""The age from which on a file's stamp is trusted: clocks of file systems tick every few milliseconds."""


def pretty(model: BaseModel) -> bytes:
    """Return a contract as JSON for people."""
    return model.model_dump_json(indent=2).encode() + b"\n"


def read(path: Path | str, kind: type[_Model]) -> _Model | None:
    """Read a JSON file, without the fields of a later release; None if there is none. Raises StoreRejected."""
    found = _read(path, kind)
    return None if found is None else found[1]


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
        """Read the files at all of `paths`, passing over those that are not there. Raises StoreRejected."""
        with self._turn:
            found = {path: model for path in paths if (model := self._read_again(path)) is not None}
            for gone in self._known.keys() - found.keys():
                del self._known[gone]
        return list(found.values())

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
        if time.time_ns() - found[0][0] > _SETTLED_NS:
            self._known[path] = found
        return found[1]


def _read(path: Path | str, kind: type[_Model]) -> tuple[_Stamp, _Model] | None:
    try:
        with open(path, "rb") as file:
            stamp, text = _stamp(os.fstat(file.fileno())), file.read()
    except FileNotFoundError:
        return None
    try:
        return stamp, kind.model_validate_json(text, extra="ignore")
    except ValidationError as error:
        what = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, what["loc"])) or "all of it"
        place = os.path.realpath(path)  # Not a link to it.
        raise StoreRejected(f"{place} is damaged: {where}: {what['msg']}: restore it from a backup") from None


def _stamp(status: os.stat_result) -> _Stamp:
    return status.st_mtime_ns, status.st_size, status.st_ino
