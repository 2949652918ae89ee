"""`python -m tests.reactive`: the trials of the expiry and sync workers, a table, and one JSON object as last line."""

import argparse
import asyncio
import json
import logging
import sys
import time
from collections.abc import Sequence
from typing import Any, Final

from rich.console import Console

from agentbus.logs import configure_logs
from agentbus.settings import LogSettings
from tests.harness.processes import exit_on_sigterm
from tests.harness.system.backends import Services
from tests.reactive.report import summary, table, write_results
from tests.reactive.run import run_trial
from tests.reactive.trial import Result
from tests.reactive.trials import TRIALS

_NAMES: Final = [trial.name for trial in TRIALS]

_progress = Console(stderr=True, soft_wrap=True)


def main() -> int:
    """Run what is asked for; return 0 if everything held."""
    chosen = _arguments()
    _quieten()
    begun = time.monotonic()
    results: list[Result] = []
    with Services() as services:
        for trial in TRIALS:
            if trial.name in (chosen.only or _NAMES):
                size = trial.quick if chosen.quick else trial.full
                result = asyncio.run(run_trial(services, trial, size, seed=chosen.seed, say=_say))
                _progress.print(f"{trial.name}: {'held' if result.good else 'VIOLATED'} ({result.seconds:.0f} s)")
                results.append(result)
                path = write_results(_name(chosen), _as_dict(results, chosen.seed))
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(table(results))
    for result in results:
        for problem in result.problems[:10]:
            console.print(f"{result.trial}: {problem}", markup=False, soft_wrap=True)
    figures = summary(results, time.monotonic() - begun)
    console.print(f"{figures['seconds']:.0f} s in total; results in {path}", soft_wrap=True)
    sys.stdout.write(json.dumps(figures) + "\n")
    return 0 if all(result.good for result in results) else 1


def _say(words: str) -> None:
    _progress.print(words, markup=False)


def _quieten() -> None:
    """Keep our own clients' complaints about servers that end out of the report."""
    configure_logs(LogSettings(log_level="error"))
    for name in ("aio_pika", "aiormq"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.reactive", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, in under 3 minutes")
    parser.add_argument("--only", action="append", choices=_NAMES, help="this trial alone (may be given again)")
    parser.add_argument("--seed", type=int, default=1, help="another seed gives another load")
    return parser.parse_args()


def _as_dict(results: Sequence[Result], seed: int) -> dict[str, Any]:
    return {"seed": seed, "trials": [result.as_dict() for result in results]}


def _name(chosen: argparse.Namespace) -> str:
    part = "-".join(chosen.only) if chosen.only else "all"
    return f"{part}-quick" if chosen.quick else part


if __name__ == "__main__":
    exit_on_sigterm()
    sys.exit(main())
