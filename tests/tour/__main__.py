"""`python -m tests.tour`: use every public name of the session API in every mode, and print a table of the outcomes."""

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from agentbus.logs import configure_logs
from agentbus.settings import LogSettings
from tests.harness.processes import exit_on_sigterm
from tests.services import ServiceError
from tests.tour.report import summary, tell
from tests.tour.run import tour
from tests.tour.world import Mode, services


def main(arguments: Sequence[str] | None = None) -> int:
    """Take the tour; return 0 if every step succeeded in every mode."""
    parser = argparse.ArgumentParser(prog="python -m tests.tour", description=__doc__)
    parser.add_argument("--mode", action="append", type=Mode, choices=list(Mode), help="this mode alone (repeatable)")
    parser.add_argument("--json", action="store_true", help="print one JSON object in place of the table")
    chosen = parser.parse_args(arguments)
    modes: list[Mode] = chosen.mode or list(Mode)
    configure_logs(LogSettings(log_level="error"))
    try:
        with services(set(modes)) as (broker, store), tempfile.TemporaryDirectory() as folder:
            outcomes = asyncio.run(tour(modes, Path(folder), broker, store))
    except ServiceError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    if chosen.json:
        sys.stdout.write(json.dumps(summary(outcomes)) + "\n")
    else:
        tell(Console(), outcomes)
    return 0 if all(one.ok for one in outcomes) else 1


if __name__ == "__main__":
    exit_on_sigterm()
    sys.exit(main())
