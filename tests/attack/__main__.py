"""`python -m tests.attack`: every parser fuzzed, a storm of hostile messages, its ledger; the last line is JSON."""

import argparse
import asyncio
import time
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any, Final

from tests.attack.fuzz.run import fuzz
from tests.attack.report import ledger_table
from tests.attack.storm.run import Outcome, Plan, run_storm
from tests.harness.program import parser, part_of, quieten, run, say, screen, tell
from tests.harness.results import write_results
from tests.harness.system.backends import Services

_COUNT: Final = 20_000
_QUICK: Final = 3_000
_RATE: Final = 250.0
_EACH: Final = 1_000
"""Inputs for each parser."""
_QUICK_EACH: Final = 100
_RESULTS: Final = Path(__file__).parent / "results"


def main() -> int:
    """Run what is asked for; return 0 if everything held."""
    chosen = _arguments()
    quieten()
    count = chosen.count or (_QUICK if chosen.quick else _COUNT)
    plan = Plan(count=count, rate=chosen.rate, seed=f"{chosen.seed}/storm")
    begun = time.monotonic()
    folder = Path(mkdtemp(prefix="agentbus-attack-"))
    fuzzed = fuzz(_QUICK_EACH if chosen.quick else _EACH, f"{chosen.seed}/fuzz")
    say(f"fuzzed: {fuzzed.inputs} inputs, {len(fuzzed.faults)} faults ({time.monotonic() - begun:.0f} s)")
    with Services() as services:
        outcome = asyncio.run(run_storm(services, plan, folder))
    problems = outcome.problems() + fuzzed.faults
    figures = outcome.summary() | {"fuzzed": fuzzed.inputs, "fuzz_faults": len(fuzzed.faults)}
    figures |= {"seconds": round(time.monotonic() - begun, 1)}
    detail = _detail(outcome, figures, problems) | {"fuzzed_and_read": fuzzed.read}
    path = write_results(_RESULTS / f"{part_of((), 'all', quick=chosen.quick)}.json", detail)
    console = screen()
    console.print(ledger_table(outcome))
    for words in problems:
        console.print(f"  {words}", markup=False, soft_wrap=True)
    if problems:
        console.print(f"  logs: {folder}", soft_wrap=True)
    else:
        rmtree(folder)
    console.print(f"results in {path}", soft_wrap=True)
    tell(figures)
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
    asked = parser("attack", __doc__, quick="fewer messages, in under 3 minutes", seed="another seed sends others")
    asked.add_argument("--count", type=int, help="so many hostile messages")
    asked.add_argument("--rate", type=float, default=_RATE, help="so many of them a second (%(default)s)")
    return asked.parse_args()


if __name__ == "__main__":
    run(main)
