"""A history file being read: its lines or JSON, and what is to be said about it."""

import codecs
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import Path
from typing import IO, Any, Final

from pydantic import ValidationError

from agentbus.contracts.documents import json_in
from agentbus.workers.importers.places import Place
from agentbus.workers.importers.port import HistoryOptions, HistoryUnreadable, NotUnderstood, Reading
from agentbus.workers.importers.values import fit_text

MAX_LINE_BYTES: Final = 4 * 1024 * 1024
"""Of a longer line only so much is read: it is too long for a message, which it says when it is taken for one."""

REFUSALS: Final = (ValidationError, ValueError, OverflowError, RecursionError)
"""What contracts and dates raise for what a history says."""

_UTF16: Final = ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_SURROGATE_ESCAPE: Final = re.compile(rb"\\u[dD][89abAB]|\\u[dD][c-fC-F]")
_UNTOLD_NAMES: Final = frozenset({"result", "messages", "_chat"})
"""File names that every export has, whatever the chat."""

_CHUNK: Final = 65_536
_FURTHEST_EAST: Final = timedelta(hours=14)
_CLOCKS: Final = timedelta(minutes=5)
_HALF_HOUR: Final = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Source:
    """One history, with the options it is read under."""

    place: Place
    options: HistoryOptions = field(default_factory=HistoryOptions)
    reading: Reading = field(default_factory=Reading)

    @property
    def path(self) -> Path:
        """What was given, or the file in it."""
        return self.place.path

    @property
    def title(self) -> str:
        """The file's name without its ending; the folder's (or zip's) name if every export's file is named so."""
        named = self.place.named
        if self.place.member is None and self.path.is_dir():
            return named.name
        if named.stem not in _UNTOLD_NAMES:
            return named.stem
        return named.parent.name or self.path.stem

    def unreadable(self, problem: str, where: str | None = None) -> HistoryUnreadable:
        """Say what is wrong, and where."""
        place = f"{self.place.within}{where or ''}".removesuffix(", ")
        return HistoryUnreadable.of(self.path, problem, place or None)

    def not_understood(self, where: str, error: Exception | str, lines: int = 1) -> NotUnderstood:
        """Say what is wrong with an entry, and where."""
        return NotUnderstood(f"{self.place.within}{where}", told(error), lines)

    def remark(self, remark: str) -> None:
        """Say what was guessed, once."""
        if remark not in self.reading.remarks:
            self.reading.remarks.append(remark)

    def zone(self, latest: datetime | None) -> tzinfo:
        """Return the zone of times written without one, of which `latest` is the last."""
        if self.options.zone or latest is None:
            return self.options.zone or UTC
        ahead = latest.replace(tzinfo=UTC) - self.options.now
        if not _CLOCKS < ahead <= _FURTHEST_EAST:
            return UTC
        offset = timezone(-(-ahead // _HALF_HOUR) * _HALF_HOUR)
        self.remark(f"its last times are still to come in UTC: read as {offset.tzname(None)}; --zone says otherwise")
        return offset

    def lines(self, fallback: str | None = None) -> Iterator[tuple[int, str]]:
        """Yield the lines, numbered from 1, without their ends (LF or CR LF) and the byte order mark.

        Bytes that are not UTF-8 (nor UTF-16, by the mark) are read in the encoding `fallback`, by line; without one
        they become U+FFFD.
        """
        for number, raw in self.raw_lines():
            try:
                yield number, raw.decode()
            except UnicodeDecodeError:
                yield number, raw.decode(fallback) if fallback else raw.decode(errors="replace")

    def raw_lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield the lines as bytes (of UTF-8, if it is UTF-16), numbered, without their ends and the byte order mark.

        Of a line of more than MAX_LINE_BYTES the beginning.
        """
        with self.place.open() as file:
            for number, raw in enumerate(_lines_of(self._as_utf8(file)), 1):
                line = raw.removeprefix(codecs.BOM_UTF8) if number == 1 else raw
                yield number, line.removesuffix(b"\n").removesuffix(b"\r")

    def json(self, raw: bytes, file: str | None = None) -> Any:
        """Return the JSON of one file; an empty one is None. `file` is its name within an export."""
        prefix = f"{file}, " if file else ""
        try:
            text = _text_of(raw)
            loaded = json_in(text) if text.strip() else None
            self.reading.documents += loaded is not None
            return _without_surrogates(loaded) if _SURROGATE_ESCAPE.search(raw) else loaded
        except UnicodeDecodeError as error:
            raise self.unreadable(f"not UTF-8: {error.reason}", f"{prefix}byte {error.start}") from error
        except json.JSONDecodeError as error:
            where = f"{prefix}line {error.lineno}"
            raise self.unreadable(f"broken JSON, cut short perhaps: {error.msg}", where) from error
        except (ValueError, RecursionError) as error:
            raise self.unreadable(f"not JSON that can be read: {error}", file) from error

    def _as_utf8(self, file: IO[bytes]) -> IO[bytes]:
        encoding = dict(_UTF16).get(file.read(2))
        if encoding is None:
            file.seek(0)
            return file
        self.remark("this is UTF-16: read as such")
        return io.BufferedReader(_Recoded(file, encoding))


class _Recoded(io.RawIOBase):
    """The bytes of a file in another encoding, as UTF-8; what can't be read becomes U+FFFD."""

    def __init__(self, file: IO[bytes], encoding: str) -> None:
        super().__init__()
        self._file = file
        self._decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        while not self._ready:
            read = self._file.read(_CHUNK)
            self._ready = fit_text(self._decoder.decode(read, final=not read)).encode()
            if not read and not self._ready:
                return 0
        taken, self._ready = self._ready[: len(buffer)], self._ready[len(buffer) :]
        buffer[: len(taken)] = taken
        return len(taken)


def told(error: Exception | str) -> str:
    """Return the first thing that is wrong, as a person would say it."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return ": ".join(filter(None, (".".join(str(step) for step in first["loc"]), first["msg"])))


def _lines_of(file: IO[bytes]) -> Iterator[bytes]:
    """Yield lines with their ends; of one that is too long the beginning."""
    while line := file.readline(MAX_LINE_BYTES):
        yield line
        while len(line) >= MAX_LINE_BYTES and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE_BYTES)


def _text_of(raw: bytes) -> str:
    encoding = dict(_UTF16).get(raw[:2])
    return raw[2:].decode(encoding) if encoding else raw.decode("utf-8-sig")


def _without_surrogates(value: Any) -> Any:
    match value:
        case str():
            return fit_text(value)
        case list():
            return [_without_surrogates(item) for item in value]
        case dict():
            return {fit_text(key): _without_surrogates(item) for key, item in value.items()}
        case _:
            return value
