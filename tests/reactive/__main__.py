"""`python -m tests.reactive`: the trials of the expiry and sync workers, a table, and one JSON object as last line."""

import asyncio
import time
from pathlib import Path
from typing import Final

from tests.harness.program import parser, part_of, quieten, run, say, screen, some_of, tell
from tests.harness.results import write_results
from tests.harness.system.backends import Services
from tests.reactive.report import summary, table
from tests.reactive.run import run_trial
from tests.reactive.trial import Result
from tests.reactive.trials import TRIALS

_RESULTS: Final = Path(__file__).parent / "results"


def main() -> int:
    """Run what is asked for; return 0 if everything held."""
    asked = parser("reactive", __doc__, quick="small sizes, in under 3 minutes", seed="another seed gives another load")
    named = some_of({trial.name: trial for trial in TRIALS})
    asked.add_argument("--only", type=named, default=[], help="these trials alone (commas between them)")
    chosen = asked.parse_args()
    file = _RESULTS / f"{part_of((trial.name for trial in chosen.only), 'all', quick=chosen.quick)}.json"
    quieten()
    begun = time.monotonic()
    results: list[Result] = []
    with Services() as services:
        for trial in chosen.only or TRIALS:
            size = trial.quick if chosen.quick else trial.full
            result = asyncio.run(run_trial(services, trial, size, seed=chosen.seed, say=say))
            say(f"{trial.name}: {'held' if result.good else 'VIOLATED'} ({result.seconds:.0f} s)")
            results.append(result)
            write_results(file, {"seed": chosen.seed, "trials": [result.as_dict() for result in results]})
    console = screen()
    console.print(table(results))
    for result in results:
        for problem in result.problems[:10]:
            console.print(f"{result.trial}: {problem}", markup=False, soft_wrap=True)
    figures = summary(results, time.monotonic() - begun)
    console.print(f"{figures['seconds']:.0f} s in total; results in {file}", soft_wrap=True)
    tell(figures)
    return 0 if all(result.good for result in results) else 1


if __name__ == "__main__":
    run(main)
