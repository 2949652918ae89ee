"""`python -m tests.migrations`: move sessions along all kinds of stores and back; tell digests and memory."""

import asyncio
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from rich.table import Table

from tests.harness.program import parser, quieten, run, say, screen, tell
from tests.harness.results import write_results
from tests.migrations.run import Journey, prepare, servers, travel
from tests.services import ServiceError

RESULTS: Final = Path(__file__).parent / "results"
KILLED: Final = "PostgreSQL"
"""The move to it is killed in the middle."""
FLAT: Final = 1.2
"""How many times as much memory ten times as many sessions may take."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Move few sessions, then ten times as many; return 0 if all came back the same, and memory stayed flat."""
    asked = parser("migrations", __doc__, quick="100 and 1,000 sessions, in place of 1,000 and 10,000")
    quick = asked.parse_args(arguments).quick
    quieten()
    journeys: list[Journey] = []
    try:
        with servers() as places:
            for sessions in (100, 1000) if quick else (1000, 10_000):
                with tempfile.TemporaryDirectory() as folder:
                    there = places(Path(folder))
                    asyncio.run(prepare(there[0], sessions))
                    say(f"{sessions} sessions are written")
                    journeys.append(travel(there, KILLED, say))
    except ServiceError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    few, many = journeys
    screen().print(table(few, many))
    told = {"same": few.same and many.same, "flat": is_flat(few, many)}
    path = write_results(RESULTS / f"{many.sessions}.json", told | {"journeys": [asdict(one) for one in journeys]})
    say(f"results in {path}")
    tell(told | {"sessions": many.sessions, "messages": many.messages, "digest": many.digest, "end": many.end})
    return 0 if all(told.values()) else 1


def is_flat(few: Journey, many: Journey) -> bool:
    """Whether no move of many sessions takes much more memory than that of few."""
    return all(two.peak_mb <= FLAT * one.peak_mb for one, two in zip(few.moves, many.moves, strict=True))


def table(few: Journey, many: Journey) -> Table:
    """Return a row for each move."""
    title = f"agentbus store migrate: {many.sessions:,} sessions, {many.messages:,} messages"
    shown = Table("from", "to", title=title)
    for heading in ("s", f"peak MB, {few.sessions:,} sessions", f"peak MB, {many.sessions:,}", "digest", "killed once"):
        shown.add_column(heading, justify="right")
    for one, two in zip(few.moves, many.moves, strict=True):
        figures = (f"{two.seconds:.0f}", f"{one.peak_mb:.0f}", f"{two.peak_mb:.0f}", two.digest[:12])
        shown.add_row(two.source, two.target, *figures, "yes" if two.killed else "")
    shown.caption = f"digest before {many.digest[:12]}, in the end {many.end[:12]}"
    return shown


if __name__ == "__main__":
    run(main)
