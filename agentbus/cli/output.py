"""What commands print: whole lines for people and for pipes, JSON for programs; all else goes to standard error.

On a terminal a list is aligned, and only columns of free text are shortened to fit it: never an id. In a pipe a list is
a line of column names and a line a row, tab-separated. `-o wide` aligns and shortens nothing, `-o json` is `--json`.
"""

import json
import os
import re
import sys
from collections.abc import Collection, Mapping, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

out: Final = Console(highlight=False, soft_wrap=True)
err: Final = Console(stderr=True, highlight=False)

_GAP: Final = "  "
_SHORTEST: Final = 20
"""Columns of free text are not shortened below so many cells."""

# C0 and C1 control characters but for tab and newline, and what changes the direction of text.
_STEERING: Final = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069]")
# These, and what ends a line or a column.
_ENDING: Final = re.compile(f"{_STEERING.pattern[:-1]}\\t\\n\\u2028\\u2029]")


class Format(StrEnum):
    """How a command prints what it found."""

    WIDE = "wide"
    """Aligned, with nothing shortened, also in a pipe."""
    JSON = "json"
    """JSON: indented for a terminal, one line for a pipe."""


asked_format: Final[ContextVar[Format | None]] = ContextVar("asked_format", default=None)
"""The format that the running command was asked for with `-o`; None: by where it prints to."""


def print_json(value: Any) -> None:
    """Print `value` as JSON: indented for a terminal, one line for a pipe."""
    indent = 2 if sys.stdout.isatty() else None
    sys.stdout.write(_json(value, indent=indent) + "\n")
    sys.stdout.flush()


def print_rows(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    *,
    as_json: bool,
    cursor: str | None = None,
    empty: str,
    shorten: Sequence[str] = (),
) -> None:
    """Print a list: `columns`, a line a row, or a JSON object with all that `rows` hold and the next page's cursor.

    `shorten` are the columns of free text: on a terminal they give way, so that the rest fits.
    """
    if as_json:
        print_json({"items": list(rows), "cursor": cursor})
        return
    beside = err if _piped() else out
    if not rows:
        beside.print(empty, markup=False, soft_wrap=True)
        return
    cells = [[as_line(row.get(column)) for column in columns] for row in rows]
    if _piped():
        for line in (columns, *cells):
            print_line(line)
    else:
        _print_table(cells, columns, shorten)
    if cursor:
        beside.print(f"\nMore: --cursor {cursor}", style="dim", soft_wrap=True, markup=False)


def print_fields(fields: Mapping[str, Any]) -> None:
    """Print one thing as names and values: a line each in a pipe, where line breaks are escaped."""
    if _piped():
        for name, value in fields.items():
            print_line((name, as_line(value)))
        return
    width = max(map(len, fields), default=0)
    for name, value in fields.items():
        shown = _text(value, _STEERING).replace("\n", "\n" + " " * width + _GAP)
        out.print(Text.assemble((name.replace("_", " ").ljust(width), "bold"), _GAP, shown))


def print_line(cells: Sequence[str]) -> None:
    """Print one line of several values, with tabs between them in a pipe."""
    if _piped():
        sys.stdout.write("\t".join(_ENDING.sub(_escaped, cell) for cell in cells) + "\n")
        sys.stdout.flush()
    else:
        out.print(_GAP.join(cells), markup=False, emoji=False)


def iso(moment: datetime) -> str:
    """Return a moment as ISO 8601 in UTC, ending in Z; milliseconds if it has any."""
    precision = "milliseconds" if moment.microsecond else "seconds"
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec=precision) + "Z"


def _print_table(cells: Sequence[Sequence[str]], columns: Sequence[str], shorten: Collection[str]) -> None:
    heads = [column.replace("_", " ") for column in columns]
    widths = [max(cell_len(line[place]) for line in (heads, *cells)) for place in range(len(columns))]
    if asked_format.get() is not Format.WIDE:
        _fit(widths, [place for place, column in enumerate(columns) if column in shorten])
    out.print(Text(_aligned(heads, widths), style="bold"))
    for line in cells:
        out.print(Text(_aligned(line, widths)))


def _fit(widths: list[int], giving: Sequence[int]) -> None:
    """Make the columns at `giving` narrower, the last first, until a line fits the terminal, or they are short."""
    for place in reversed(giving):
        excess = sum(widths) + len(_GAP) * (len(widths) - 1) - _terminal_width()
        if excess > 0:
            widths[place] = max(min(widths[place], _SHORTEST), widths[place] - excess)


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (_padded(cell, width) for cell, width in zip(cells, widths, strict=True))
    return _GAP.join(padded).rstrip()


def _padded(cell: str, width: int) -> str:
    if cell_len(cell) > width:
        return set_cell_size(cell, width - 1) + "…"
    return cell + " " * (width - cell_len(cell))


def _piped() -> bool:
    return asked_format.get() is not Format.WIDE and not sys.stdout.isatty()


def _terminal_width() -> int:
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or out.width
    except (OSError, ValueError):
        return out.width


def as_line(value: Any) -> str:
    """Return a value in one line."""
    return _text(value, _ENDING)


def _text(value: Any, escape: re.Pattern[str]) -> str:
    """Return a value as it is: what users wrote is no markup, and does not steer the terminal."""
    match value:
        case None | "":
            return "-"
        case datetime():
            return iso(value)
        case dict() | list() | tuple():
            text = _json(value)
        case _:
            text = str(value)
    return escape.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()


def _json(value: Any, *, indent: int | None = None) -> str:
    return json.dumps(value, indent=indent, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> str:
    return iso(value) if isinstance(value, datetime) else str(value)
