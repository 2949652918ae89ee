"""`python -m tests.benchmarks`: measure everything, with tables and one JSON object as last line."""

import asyncio

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.benchmarks.load.client import Load
from tests.benchmarks.measures.results import Results, measure_all, steps
from tests.benchmarks.output.files import write_files
from tests.benchmarks.output.summary import summarize
from tests.benchmarks.output.tables import print_tables
from tests.benchmarks.output.versions import versions
from tests.benchmarks.sizes import FULL, QUICK, Sizes
from tests.benchmarks.stage import Services
from tests.harness.program import parser, run, screen, tell
from tests.services import private_mongodb, private_rabbitmq


def main() -> int:
    """Measure, tell, and keep the results; return 0."""
    sizes = QUICK if parser("benchmarks", __doc__, quick="in under three minutes").parse_args().quick else FULL
    with private_rabbitmq() as rabbitmq, private_mongodb() as mongodb, Load() as load:
        found = asyncio.run(versions(rabbitmq.url, mongodb.url))
        results = measure_with_progress(Services(rabbitmq, mongodb, load), sizes)
    console = screen()
    print_tables(console, results)
    summary = summarize(results)
    files = write_files(results, summary, sizes, found)
    console.print(f"written: {', '.join(f'tests/benchmarks/results/{file.name}' for file in files)}")
    tell(summary)
    return 0


def measure_with_progress(services: Services, sizes: Sizes) -> Results:
    """Measure everything, showing on standard error how far it is."""
    columns = (MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    console = Console(stderr=True)
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=steps(sizes), completed=-1)

        def say(what: str) -> None:
            progress.update(task, description=what, advance=1)
            if not console.is_terminal:
                console.print(f"bench: {what}")

        results = measure_all(services, sizes, say)
        progress.update(task, description="done", advance=1)
    return results


if __name__ == "__main__":
    run(main)
