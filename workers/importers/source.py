"""A history file being read: its lines or JSON, and errors that say where in it something is wrong."""

import codecs
import json
import re
import zipfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from pydantic import ValidationError

from agentbus.contracts.documents import json_in
from agentbus.workers.importers.port import HistoryOptions, HistoryUnreadable, Tally
from agentbus.workers.importers.values import fit_text

_UTF16_MARKS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_SURROGATE_ESCAPE: Final = re.compile(rb"\\u[dD][89abAB]|\\u[dD][c-fC-F]")
_UNTOLD_NAMES: Final = frozenset({"result", "messages", "_chat"})
"""File names that every export has, whatever the chat."""


@dataclass(frozen=True, slots=True)
class Source:
    """One history, with the options it is read under."""

    path: Path
    options: HistoryOptions = field(default_factory=HistoryOptions)
    tally: Tally = field(default_factory=Tally)

    @property
    def title(self) -> str:
        """The file's name without its ending; the folder's name if it is one, or if every export's file is named so."""
        path = self.path.absolute()
        return path.name if path.is_dir() else path.parent.name if path.stem in _UNTOLD_NAMES else path.stem

    def skip(self) -> None:
        """Count a line or entry that is no message."""
        self.tally.skipped += 1

    def unreadable(self, problem: str, where: str | None = None) -> HistoryUnreadable:
        """Say what is wrong, and where."""
        return HistoryUnreadable.of(self.path, problem, where)

    @contextmanager
    def at(self, where: str) -> Generator[None, None, None]:
        """Turn what the contracts refuse into HistoryUnreadable, saying where in the file."""
        try:
            yield
        except ValidationError as error:
            raise self.unreadable(shown(error), where) from None
        except (ValueError, OverflowError) as error:
            raise self.unreadable(str(error), where) from error

    def lines(self, fallback: str | None = None) -> Iterator[tuple[int, str]]:
        """Yield the lines, numbered from 1, without their ends (LF or CR LF) and the byte order mark.

        Bytes that are not UTF-8 are read in the encoding `fallback`, by line; without one they become U+FFFD.
        """
        for number, raw in self.raw_lines():
            try:
                yield number, raw.decode()
            except UnicodeDecodeError:
                yield number, raw.decode(fallback) if fallback else raw.decode(errors="replace")

    def raw_lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield the lines as bytes, numbered from 1, without their ends and the byte order mark."""
        with open_text(self.path) as file:
            for number, raw in enumerate(file, 1):
                if number == 1 and raw.startswith(_UTF16_MARKS):
                    raise self.unreadable("this is UTF-16: save it as UTF-8", "line 1")
                line = raw.removeprefix(codecs.BOM_UTF8) if number == 1 else raw
                yield number, line.removesuffix(b"\n").removesuffix(b"\r")

    def json(self, raw: bytes, file: str | None = None) -> Any:
        """Return the JSON of one file; an empty one is None. `file` is its name within an export."""
        prefix = f"{file}, " if file else ""
        try:
            text = raw.decode("utf-8-sig")
            loaded = json_in(text) if text.strip() else None
            return _without_surrogates(loaded) if _SURROGATE_ESCAPE.search(raw) else loaded
        except UnicodeDecodeError as error:
            raise self.unreadable(f"not UTF-8: {error.reason}", f"{prefix}byte {error.start}") from error
        except json.JSONDecodeError as error:
            where = f"{prefix}line {error.lineno}"
            raise self.unreadable(f"broken JSON, cut short perhaps: {error.msg}", where) from error
        except (ValueError, RecursionError) as error:
            raise self.unreadable(f"not JSON that can be read: {error}", file) from error


@contextmanager
def open_text(path: Path) -> Generator[IO[bytes], None, None]:
    """Open a text, or the only text inside a zip. Raises HistoryUnreadable if the zip holds none or several."""
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            yield file
        return
    with open_zip(path) as archive:
        texts = [name for name in archive.namelist() if name.lower().endswith(".txt")]
        if len(texts) != 1:
            raise HistoryUnreadable.of(path, f"a zip with {len(texts)} texts: unpack it, and read them one by one")
        with archive.open(texts[0]) as member:
            yield member


@contextmanager
def open_zip(path: Path) -> Generator[zipfile.ZipFile, None, None]:
    """Open a zip; whatever is wrong with it, then or later, becomes HistoryUnreadable."""
    try:
        with zipfile.ZipFile(path) as archive:
            if any(info.flag_bits & 1 for info in archive.infolist()):
                raise HistoryUnreadable.of(path, "the zip has a password: unpack it first")
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise HistoryUnreadable.of(path, f"not a zip, or a damaged one: {error}") from error


def shown(error: ValidationError) -> str:
    """Return the first thing that pydantic found wrong, as a person would say it."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return ": ".join(filter(None, (".".join(str(step) for step in first["loc"]), first["msg"])))


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
