"""`python -m tests.benchmarks.api`: measure, print tables, keep the results, and one JSON object as last line."""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from tests.benchmarks.api.commits import measure_commits
from tests.benchmarks.api.lists import LISTS, Stage, measure_lists
from tests.benchmarks.api.sizes import FULL, QUICK
from tests.harness.program import parser, quieten, run, screen, tell
from tests.harness.results import write_results
from tests.harness.stores import KINDS
from tests.services import private_rabbitmq

RESULTS: Final = Path(__file__).parents[1] / "results" / "api.json"
LIMIT_MS: Final = 50.0
"""The aim for a list of 1,000 sessions, at the median."""
AIMED_AT: Final = ("sqlite", "mongodb")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure all stores; return 0 if the sessions of MongoDB and SQLite are listed in time. A full run is kept."""
    asked = parser("benchmarks.api", __doc__, quick="a third of the calls, on SQLite and MongoDB")
    sizes = QUICK if asked.parse_args(arguments).quick else FULL
    quieten()
    # What is in memory is in one process alone: the API's would be empty.
    kinds = [kind for kind in KINDS if kind != "memory"] if sizes is FULL else AIMED_AT
    stages = [Stage(kind=kind) for kind in kinds] + [Stage(kind=kind, encrypted=True) for kind in AIMED_AT]
    with tempfile.TemporaryDirectory(prefix="agentbus-api-") as folder, private_rabbitmq() as broker:
        lists = {stage.name: asyncio.run(measure_lists(stage, broker, sizes, Path(folder))) for stage in stages}
        commits = asyncio.run(measure_commits(broker, sizes, Path(folder)))
    screen().print(lists_table(lists))
    screen().print(commits_table(commits))
    found = {"lists_ms": lists, "commits_ms": commits}
    if sizes is FULL:
        write_results(RESULTS, {"rows": sizes.rows, "calls": sizes.calls, "publishes": sizes.publishes, **found})
    tell(found)
    return 0 if all(lists[kind]["sessions"]["p50"] < LIMIT_MS for kind in AIMED_AT) else 1


def lists_table(lists: dict[str, Any]) -> Table:
    """Return a row for each store, and a column for each list."""
    shown = Table("store", *LISTS, title="A page of 1,000 by HTTP, ms: p50, p99")
    for store, found in lists.items():
        shown.add_row(store, *(f"{found[name]['p50']}, {found[name]['p99']}" for name in LISTS))
    return shown


def commits_table(commits: dict[str, Any]) -> Table:
    """Return a row for each way to publish."""
    shown = Table("", "p50", "p99", title="Publish a message and hear of its commit, ms")
    for way, found in commits.items():
        shown.add_row(way, str(found["p50"]), str(found["p99"]))
    return shown


if __name__ == "__main__":
    run(main)
