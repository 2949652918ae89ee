"""What commands print: tables for people, JSON for programs; errors and progress go to standard error."""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

out: Final = Console(highlight=False)
err: Final = Console(stderr=True, highlight=False)

# C0 and C1 control characters but for tab and newline, and what changes the direction of text.
_STEERING: Final = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069]")


def print_json(value: Any) -> None:
    """Print `value` as JSON: indented for a terminal, one line for a pipe."""
    indent = 2 if sys.stdout.isatty() else None
    sys.stdout.write(json.dumps(value, indent=indent, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


def print_rows(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool, cursor: str | None = None, empty: str
) -> None:
    """Print a list: a table of `columns`, or a JSON object with all that `rows` hold and the next page's cursor."""
    if as_json:
        print_json({"items": list(rows), "cursor": cursor})
        return
    if not rows:
        out.print(empty)
        return
    table = Table(*(column.replace("_", " ") for column in columns), header_style="bold", box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    out.print(table)
    if cursor:
        out.print(f"\nMore: --cursor {cursor}", style="dim", soft_wrap=True)


def print_fields(fields: Mapping[str, Any]) -> None:
    """Print one thing as names and values."""
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in fields.items():
        table.add_row(Text(name.replace("_", " "), style="bold"), _cell(value))
    out.print(table)


def _cell(value: Any) -> Text:
    """Return a value as it is: what users wrote is no markup, and does not steer the terminal."""
    match value:
        case None | "":
            return Text("-")
        case datetime():
            return Text(value.strftime("%Y-%m-%d %H:%M:%S"))
        case dict() | list() | tuple():
            text = json.dumps(value, ensure_ascii=False, default=str)
        case _:
            text = str(value)
    return Text(_STEERING.sub(lambda match: match[0].encode("unicode_escape").decode(), text))
