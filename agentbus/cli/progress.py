"""Showing how far something long is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import Progress, SpinnerColumn, TextColumn

from agentbus.cli.output import err


@contextmanager
def watching() -> Iterator[Callable[[str, int], None]]:
    """Yield what is to be told what is being done, and how many of it by now."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda what, count: bar.update(task, description=f"{what}: {count}")
