"""`python -m tests.soak`: the demonstration again and again, a table, and one JSON object as last line."""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from tests.chaos.record import machine
from tests.harness.processes import ROOT, exit_on_sigterm
from tests.soak.run import LIMIT, Ending, Run, run_demo

RESULTS: Final = Path(__file__).parent / "results"

_progress = Console(stderr=True, soft_wrap=True)


def main() -> int:
    """Run what is asked for, every other time with all cores kept busy; return 0 if every run held."""
    wanted = _arguments().runs
    begun = time.monotonic()
    runs: list[Run] = []
    for number in range(wanted):
        runs.append(run_demo(busy=number % 2 == 1))
        _tell(runs[-1], number + 1, wanted)
        path = write_results(runs, wanted)
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table(runs))
    console.print(f"{time.monotonic() - begun:.0f} s in total; results in {path}", soft_wrap=True)
    sys.stdout.write(json.dumps(summary(runs)) + "\n")
    return 0 if all(run.ending is Ending.HELD for run in runs) else 1


def summary(runs: Sequence[Run]) -> dict[str, Any]:
    """Return the figures of some runs, of which there is at least one; times are in seconds."""
    seconds = [run.seconds for run in runs]
    return {
        "runs": len(runs),
        "hangs": sum(run.ending is Ending.HUNG for run in runs),
        "errors": sum(run.ending is Ending.FAILED for run in runs),
        "slow": sum(run.ending is Ending.SLOW for run in runs),
        "p50_s": round(statistics.median(seconds), 2),
        "max_s": max(seconds),
        "load": round(statistics.median(run.load for run in runs), 1),
    }


def table(runs: Sequence[Run]) -> Table:
    """Return a row for the runs alone on the machine, and one for those with all cores kept busy."""
    shown = Table(title=f"agentbus demo (times in seconds, at most {LIMIT:g})")
    shown.add_column("cores")
    for heading in ("runs", "hangs", "errors", "slow", "p50", "max", "load"):
        shown.add_column(heading, justify="right")
    for name, some in _halves(runs):
        shown.add_row(name, *map(str, summary(some).values()))
    return shown


def write_results(runs: Sequence[Run], wanted: int, folder: Path = RESULTS) -> Path:
    """Write what there is so far, after each run: one that is cut short has not been for nothing. Return the file."""
    folder.mkdir(exist_ok=True)
    path = folder / f"demo-{wanted}.json"
    told = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": machine(),
        "limit_s": LIMIT,
        "summary": {"all": summary(runs), **{name: summary(some) for name, some in _halves(runs)}},
        "runs": [run.as_dict() for run in runs],
    }
    path.write_text(json.dumps(told, indent=1) + "\n", "utf-8")
    return path


def _commit() -> str | None:
    """Return what is tried: the commit, marked if something differs from it; None where git doesn't know."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _halves(runs: Sequence[Run]) -> list[tuple[str, list[Run]]]:
    """Return the runs with the cores left alone, and those with the cores kept busy, as far as there are any."""
    halves = [(name, [run for run in runs if run.busy is busy]) for name, busy in (("alone", False), ("busy", True))]
    return [(name, some) for name, some in halves if some]


def _tell(run: Run, number: int, wanted: int) -> None:
    _progress.print(f"{number} of {wanted}: {run.ending} in {run.seconds} s{', cores busy' if run.busy else ''}")
    if run.said:
        _progress.print(run.said, markup=False, highlight=False)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--runs", type=_positive, default=200, help="how often (200)")
    return parser.parse_args()


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


if __name__ == "__main__":
    exit_on_sigterm()
    sys.exit(main())
