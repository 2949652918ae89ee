"""`python -m tests.docs.capabilities`: write what each store says of itself into the table of docs/stores.md."""

from collections.abc import Mapping
from typing import Final

from agentbus.storage.factory import open_store
from agentbus.storage.port import Capabilities
from tests.harness.processes import ROOT

PAGE: Final = ROOT / "docs" / "stores.md"
HEADING: Final = "## What each can do\n"

STORES: Final[Mapping[str, str]] = {
    "MongoDB": "mongodb://host/database",
    "PostgreSQL": "postgresql://host/database",
    "MySQL, MariaDB": "mysql://host/database",
    "Redis": "redis://host",
    "SQLite": "sqlite:///file.db",
    "files": "file:///folder",
    "memory": "memory://",
}
"""A URL of each kind of store."""


def table() -> str:
    """Return the table, a row for each kind of store."""
    heads = ("", "may be used by", "survives kill -9", "appended as one", "a commit has at most", "sessions are listed")
    rows = [[*heads, "deleted bytes"], ["---"] * (len(heads) + 1)]
    rows += [[name, *_told(open_store(url).capabilities)] for name, url in STORES.items()]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _told(one: Capabilities) -> list[str]:
    durable = "yes" if one.is_durable else "no"
    return [one.reach, durable, one.together, one.largest_commit, one.lists, one.deleted]


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
