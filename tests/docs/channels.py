"""`python -m tests.docs.channels`: write what each channel says of itself into the table of docs/channels.md."""

from typing import Final

from agentbus.workers.adapters.factory import OURS, channel_named
from agentbus.workers.adapters.port import Channel, Feature
from tests.harness.processes import ROOT

PAGE: Final = ROOT / "docs" / "channels.md"
HEADING: Final = "## What each can do\n"


def table() -> str:
    """Return the table of what comes in: a row for each feature, a column for each channel."""
    channels = [channel_named(name) for name in OURS]
    rows = [["", *(one.title for one in channels)], ["---"] * (len(channels) + 1)]
    rows += [[feature, *(_mark(one, feature) for one in channels)] for feature in Feature if _is_received(feature)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _is_received(feature: Feature) -> bool:
    return any(feature in channel_named(name).capabilities.receives for name in OURS)


def _mark(channel: Channel, feature: Feature) -> str:  # type: ignore[type-arg] # of whatever account
    return "yes" if feature in channel.capabilities.receives else ""


def with_table(page: str) -> str:
    """Return the page with the table as it is now, in the place of that under its heading."""
    before, heading, after = page.partition(HEADING)
    if not heading:
        raise ValueError(f"{PAGE} has no heading {HEADING!r}")
    lines = after.splitlines(keepends=True)
    first = next(number for number, line in enumerate(lines) if line.startswith("|"))
    last = next(
        (number for number, line in enumerate(lines) if number > first and not line.startswith("|")), len(lines)
    )
    return before + heading + "".join(lines[:first]) + table() + "".join(lines[last:])


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text("utf-8")), "utf-8")
