"""`python -m tests.attack`: every parser fuzzed, a storm of hostile messages, its ledger; the last line is JSON."""

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
from tests.attack.fuzz.run import fuzz
from tests.attack.report import ledger_table, write_results
from tests.attack.storm.run import Outcome, Plan, run_storm
from tests.harness.processes import exit_on_sigterm
from tests.harness.system.backends import Services

_COUNT: Final = 20_000
_QUICK: Final = 3_000
_RATE: Final = 250.0
_EACH: Final = 1_000
"""Inputs for each parser."""
_QUICK_EACH: Final = 100

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
    fuzzed = fuzz(_QUICK_EACH if chosen.quick else _EACH, f"{chosen.seed}/fuzz")
    _console.print(f"fuzzed: {fuzzed.inputs} inputs, {len(fuzzed.faults)} faults ({time.monotonic() - begun:.0f} s)")
    with Services() as services:
        outcome = asyncio.run(run_storm(services, plan, folder))
    problems = outcome.problems() + fuzzed.faults
    figures = outcome.summary() | {"fuzzed": fuzzed.inputs, "fuzz_faults": len(fuzzed.faults)}
    figures |= {"seconds": round(time.monotonic() - begun, 1)}
    detail = _detail(outcome, figures, problems) | {"fuzzed_and_read": fuzzed.read}
    path = write_results("all-quick" if chosen.quick else "all", detail)
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
        "partitions": plan.partitions,
        "workers": plan.workers,
        "summary": figures,
        "waits_ms": outcome.waits,
        "spread_seconds": round(outcome.spread_seconds, 1),
        "flood_seconds": round(outcome.flood_seconds, 1),
        "rss_mb": [{name: round(size / 1e6, 1) for name, size in one.items()} for one in outcome.memory],
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
