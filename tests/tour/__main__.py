"""`python -m tests.tour`: use every public name of the session API in every mode, and print a table of the outcomes."""

import asyncio
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from tests.harness.program import parser, quieten, run, tell
from tests.services import ServiceError
from tests.tour.report import show, summary
from tests.tour.run import tour
from tests.tour.world import Mode, services


def main(arguments: Sequence[str] | None = None) -> int:
    """Take the tour; return 0 if every step succeeded in every mode."""
    asked = parser("tour", __doc__)
    asked.add_argument("--mode", action="append", type=Mode, choices=list(Mode), help="this mode alone (repeatable)")
    asked.add_argument("--json", action="store_true", help="print one JSON object in place of the table")
    chosen = asked.parse_args(arguments)
    modes: list[Mode] = chosen.mode or list(Mode)
    quieten()
    try:
        with services(set(modes)) as (broker, stores), tempfile.TemporaryDirectory() as folder:
            outcomes = asyncio.run(tour(modes, Path(folder), broker, stores))
    except ServiceError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    if chosen.json:
        tell(summary(outcomes))
    else:
        show(Console(), outcomes)
    return 0 if all(one.ok for one in outcomes) else 1


if __name__ == "__main__":
    run(main)
