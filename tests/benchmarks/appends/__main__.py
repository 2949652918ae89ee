"""`python -m tests.benchmarks.appends`: measure, print a table, keep the results, and one JSON object as last line."""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.appends.measure import FULL, LIMIT, QUICK, measure
from tests.benchmarks.appends.report import PAGE, RESULTS, figures, in_markdown, put_into_docs, table
from tests.harness.program import parser, quieten, run, screen, tell
from tests.harness.results import write_results
from tests.harness.stores import KINDS


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure all stores; return 0 if messages of none grow dearer by more than LIMIT. A full run is kept."""
    asked = parser("benchmarks.appends", __doc__, quick="histories of up to 10,000 messages")
    sizes = QUICK if asked.parse_args(arguments).quick else FULL
    quieten()
    with tempfile.TemporaryDirectory(prefix="agentbus-appends-") as folder:
        costs, versions = asyncio.run(measure(KINDS, sizes, Path(folder)))
    found = figures(costs)
    screen().print(table(found, versions))
    if sizes is FULL:
        write_results(RESULTS, {"versions": versions, **found, "blocks_ms": costs}, indent=1)
        put_into_docs(in_markdown(found, versions), PAGE)
    tell(found)
    return 0 if max(found["growth"].values()) <= LIMIT else 1


if __name__ == "__main__":
    run(main)
