"""`python -m tests.benchmarks`: measure everything, with tables and one JSON object as last line."""

import asyncio
from dataclasses import replace
from typing import Final

from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from tests.benchmarks.load.client import Load
from tests.benchmarks.measures.results import PARTS, Results, measure_all
from tests.benchmarks.output.files import write_files
from tests.benchmarks.output.summary import summarize
from tests.benchmarks.output.tables import print_tables
from tests.benchmarks.output.versions import versions
from tests.benchmarks.sizes import FULL, QUICK, Sizes
from tests.benchmarks.stage import Services
from tests.harness.program import at_least_one, parser, run, screen, some_of, tell
from tests.services import private_mongodb, private_rabbitmq

_PARTS: Final = {part: part for part in PARTS}


def main() -> int:
    """Measure, tell, and keep the results of a whole run; return 0."""
    asked = parser("benchmarks", __doc__, quick="in three to four minutes")
    asked.add_argument("--only", type=some_of(_PARTS), default=PARTS, help=f"some of: {', '.join(PARTS)}; not kept")
    asked.add_argument("--repeats", type=at_least_one, help="rounds of backlogs and low load; not kept")
    given = asked.parse_args()
    sizes = QUICK if given.quick else FULL
    if set(given.only) <= {part for part, one in sizes.leaves_out.items() if one}:
        asked.error(f"a quick run measures nothing of {', '.join(given.only)}: leave --quick out")
    whole = given.repeats is None and set(given.only) == set(PARTS)
    if given.repeats:
        sizes = replace(sizes, repeats=given.repeats)
    with (
        private_rabbitmq() as rabbitmq,
        private_mongodb() as mongodb,
        Load() as load,
        rabbitmq.fresh_vhost() as amqp_url,
    ):
        found = asyncio.run(versions(rabbitmq.url, mongodb.url))
        results = measure_with_progress(Services(rabbitmq, mongodb, load, amqp_url), sizes, given.only)
    console = screen()
    print_tables(console, results)
    summary = summarize(results)
    if whole:
        files = write_files(results, summary, sizes, found)
        console.print(f"written: {', '.join(f'tests/benchmarks/results/{file.name}' for file in files)}")
    tell(summary)
    return 0


def measure_with_progress(services: Services, sizes: Sizes, parts: list[str]) -> Results:
    """Measure, showing on standard error what and since when."""
    console = Console(stderr=True)
    with Progress(TimeElapsedColumn(), TextColumn("{task.description}"), console=console) as progress:
        task = progress.add_task("", total=None)

        def say(what: str) -> None:
            progress.update(task, description=what)
            if not console.is_terminal:
                console.print(f"bench: {progress.tasks[0].elapsed or 0:.0f} s: {what}")

        return measure_all(services, sizes, say, parts)


if __name__ == "__main__":
    run(main)
