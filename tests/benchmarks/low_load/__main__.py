"""`python -m tests.benchmarks.low_load`: measure, print a table, and one JSON object as last line."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from tests.benchmarks.load.client import Load
from tests.benchmarks.low_load.measure import FULL, QUICK, measure
from tests.benchmarks.low_load.report import figures, ratios, table
from tests.benchmarks.stage import Services
from tests.harness.program import parser, run, screen, tell
from tests.harness.results import write_results
from tests.services import private_mongodb, private_rabbitmq

RESULTS: Final = Path(__file__).parent.parent / "results" / "low_load.json"


def main() -> int:
    """Measure, tell, and return 0. A full run is kept."""
    asked = parser("benchmarks.low_load", __doc__, quick="three repeats, in under three minutes")
    asked.add_argument("--repeats", type=int, help="turns of each contender")
    given = asked.parse_args()
    sizes = QUICK if given.quick else FULL
    if given.repeats:
        sizes = replace(sizes, repeats=given.repeats)
    console = screen()
    with private_rabbitmq() as rabbitmq, private_mongodb() as mongodb, Load() as load:
        runs = measure(Services(rabbitmq, mongodb, load), sizes)
    found = figures(runs)
    console.print(table(found))
    if not given.quick:
        write_results(RESULTS, {"figures": found, "ratios": ratios(found), "runs": list(map(asdict, runs))}, indent=1)
    tell({"figures": found, "ratios": ratios(found)})
    return 0


if __name__ == "__main__":
    run(main)
