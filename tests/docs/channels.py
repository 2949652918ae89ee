"""`python -m tests.docs.channels`: write what each channel says of itself into the table of docs/channels.md."""

from collections.abc import Callable, Mapping
from typing import Final

from agentbus.workers.adapters.factory import OURS, channel_named
from agentbus.workers.adapters.port import Capabilities, Feature, Streaming
from tests.harness.processes import ROOT

PAGE: Final = ROOT / "docs" / "channels.md"
HEADING: Final = "## What each can do\n"


GOING_OUT: Final = "What goes out:\n"

_STREAMING: Final = {
    Streaming.COLLECTED: "when it is whole",
    Streaming.EDITED: "by edits",
    Streaming.SHOWN: "as a preview",
}


def table() -> str:
    """Return the table of what comes in: a row for each feature, a column for each channel."""
    return _rows({feature: lambda can, feature=feature: _mark(feature in can.receives) for feature in Feature})  # type: ignore[misc]  # a default binds it


def outgoing() -> str:
    """Return the table of what goes out, and of how people see what is being written."""
    rows: dict[str, Callable[[Capabilities], str]] = {
        feature: lambda can, feature=feature: _mark(feature in can.sends)  # type: ignore[misc]  # a default binds it
        for feature in Feature
    }
    rows["a reply while it is being written"] = lambda can: _STREAMING[can.streaming]
    return _rows(rows)


def _rows(rows: Mapping[str, Callable[[Capabilities], str]]) -> str:
    channels = [channel_named(name) for name in OURS]
    lines = [["", *(one.title for one in channels)], ["---"] * (len(channels) + 1)]
    for name, told in rows.items():
        cells = [told(one.capabilities) for one in channels]
        if any(cells):
            lines.append([name, *cells])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _mark(can: bool) -> str:
    return "yes" if can else ""


def with_table(page: str) -> str:
    """Return the page with the tables as they are now, in the place of those under its heading."""
    before, heading, after = page.partition(HEADING)
    incoming, second, rest = after.partition(GOING_OUT)
    if not heading or not second:
        raise ValueError(f"{PAGE} has no heading {HEADING!r}, or no line {GOING_OUT!r}")
    return before + heading + _replaced(incoming, table()) + second + _replaced(rest, outgoing())


def _replaced(text: str, by: str) -> str:
    """Return a text with another table in the place of its first one."""
    lines = text.splitlines(keepends=True)
    first = next(number for number, line in enumerate(lines) if line.startswith("|"))
    last = next(
        (number for number, line in enumerate(lines) if number > first and not line.startswith("|")), len(lines)
    )
    return "".join(lines[:first]) + by + "".join(lines[last:])


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text("utf-8")), "utf-8")
