"""`python -m tests.soak`: the demonstration again and again, a table, and one JSON object as last line."""

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from tests.harness.program import at_least_one, parser, run, say, screen, tell
from tests.harness.results import write_results
from tests.soak.run import LIMIT, Ending, Run, run_demo

RESULTS: Final = Path(__file__).parent / "results"


def main() -> int:
    """Run what is asked for, every other time with all cores kept busy; return 0 if every run held."""
    asked = parser("soak", __doc__)
    asked.add_argument("--runs", type=at_least_one, default=200, help="how often (%(default)s)")
    wanted = asked.parse_args().runs
    begun = time.monotonic()
    runs: list[Run] = []
    for number in range(wanted):
        runs.append(run_demo(busy=number % 2 == 1))
        _tell(runs[-1], number + 1, wanted)
        path = write_results(RESULTS / f"demo-{wanted}.json", told_of(runs), indent=1)
    console = screen()
    console.print(table(runs))
    console.print(f"{time.monotonic() - begun:.0f} s in total; results in {path}", soft_wrap=True)
    tell(summary(runs))
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


def told_of(runs: Sequence[Run]) -> dict[str, Any]:
    """Return what is written down of some runs."""
    return {
        "limit_s": LIMIT,
        "summary": {"all": summary(runs), **{name: summary(some) for name, some in _halves(runs)}},
        "runs": [run.as_dict() for run in runs],
    }


def _halves(runs: Sequence[Run]) -> list[tuple[str, list[Run]]]:
    """Return the runs with the cores left alone, and those with the cores kept busy, as far as there are any."""
    halves = [(name, [run for run in runs if run.busy is busy]) for name, busy in (("alone", False), ("busy", True))]
    return [(name, some) for name, some in halves if some]


def _tell(run: Run, number: int, wanted: int) -> None:
    say(f"{number} of {wanted}: {run.ending} in {run.seconds} s{', cores busy' if run.busy else ''}")
    if run.said:
        say(run.said)


if __name__ == "__main__":
    run(main)
