"""`python -m tests.attack`: a storm of hostile messages, then its ledger, and one JSON object as the last line."""

import argparse
import asyncio
import json
import logging
import sys
import time
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any, Final

from rich.console import Console

from agentbus.logs import configure_logs
from agentbus.settings import LogSettings
from tests.attack.report import ledger_table, write_results
from tests.attack.storm.run import Outcome, Plan, run_storm
from tests.chaos.system.backends import Services
from tests.processes import exit_on_sigterm

_COUNT: Final = 20_000
_QUICK: Final = 3_000
_RATE: Final = 250.0

_console = Console(width=150)


def main() -> int:
    """Run what is asked for; return 0 if everything held."""
    chosen = _arguments()
    configure_logs(LogSettings(log_level="error"))
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)
    count = chosen.count or (_QUICK if chosen.quick else _COUNT)
    plan = Plan(count=count, rate=chosen.rate, seed=f"{chosen.seed}/storm")
    begun = time.monotonic()
    folder = Path(mkdtemp(prefix="agentbus-attack-"))
    with Services() as services:
        outcome = asyncio.run(run_storm(services, plan, folder))
    problems = outcome.problems()
    figures = outcome.summary() | {"seconds": round(time.monotonic() - begun, 1)}
    path = write_results("all-quick" if chosen.quick else "all", _detail(outcome, figures, problems))
    _console.print(ledger_table(outcome))
    for words in problems:
        _console.print(f"  {words}", markup=False, soft_wrap=True)
    if problems:
        _console.print(f"  logs: {folder}", soft_wrap=True)
    else:
        rmtree(folder)
    _console.print(f"results in {path}")
    print(json.dumps(figures))  # noqa: T201 - the last line is for programs
    return 1 if problems else 0


def _detail(outcome: Outcome, figures: dict[str, Any], problems: list[str]) -> dict[str, Any]:
    plan = outcome.plan
    return {
        "seed": plan.seed,
        "rate": plan.rate,
        "summary": figures,
        "calm_ms": outcome.calm_ms,
        "storm_ms": outcome.storm_ms,
        "sending_seconds": round(outcome.sending_seconds, 1),
        "storm_seconds": round(outcome.seconds, 1),
        "rss_mb": round(outcome.rss_mb, 1),
        "counted_by_metrics": outcome.counted,
        "ledger": outcome.ledger.as_dict(),
        "problems": problems,
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer messages, in under 3 minutes")
    parser.add_argument("--count", type=int, help="so many hostile messages")
    parser.add_argument("--rate", type=float, default=_RATE, help="so many of them a second")
    parser.add_argument("--seed", type=int, default=1, help="another seed sends others")
    return parser.parse_args()


if __name__ == "__main__":
    exit_on_sigterm()
    sys.exit(main())
