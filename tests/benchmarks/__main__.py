"""`python -m tests.benchmarks`: measure everything; `QUICK=1` in the environment does so in under three minutes."""

import asyncio
import json
import os
import sys

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.benchmarks.load.client import Load
from tests.benchmarks.measures.results import Results, measure_all, steps
from tests.benchmarks.output.files import write_results
from tests.benchmarks.output.machine import machine, versions
from tests.benchmarks.output.summary import summarize
from tests.benchmarks.output.tables import print_tables
from tests.benchmarks.sizes import FULL, QUICK, Sizes
from tests.benchmarks.stage import Services
from tests.harness.processes import exit_on_sigterm
from tests.services import private_mongodb, private_rabbitmq


def main() -> None:
    """Measure, tell, and keep the results. The last line of standard output is a JSON object."""
    sizes = QUICK if os.environ.get("QUICK", "") not in {"", "0"} else FULL
    with private_rabbitmq() as rabbitmq, private_mongodb() as mongodb, Load() as load:
        found = asyncio.run(versions(rabbitmq.url, mongodb.url))
        results = measure_with_progress(Services(rabbitmq, mongodb, load), sizes)
    console = Console(width=None if sys.stdout.isatty() else 140)
    print_tables(console, results)
    summary = summarize(results)
    files = write_results(results, summary, sizes, {"machine": machine(), "versions": found})
    console.print(f"written: {', '.join(f'tests/benchmarks/results/{file.name}' for file in files)}")
    sys.stdout.write(json.dumps(summary) + "\n")


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
    exit_on_sigterm()
    main()
