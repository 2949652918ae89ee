"""Showing how far something long is."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.progress import Progress, SpinnerColumn, TextColumn

from agentbus.cli.output import err

_BETWEEN: Final = 5.0
"""Seconds between two lines about how far something is, in a pipe."""


@contextmanager
def watching() -> Iterator[Callable[[str, int], None]]:
    """Yield what is to be told what is being done, and how many of it by now."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda what, count: bar.update(task, description=f"{what}: {count}")


@contextmanager
def showing(*, lines: bool = False) -> Iterator[Callable[[str, str], None]]:
    """Give what shows how far something is: what is done, and how much of it.

    On a terminal that is a line that changes; in a pipe nothing, or with `lines` one for each thing that is done, and
    every few seconds.
    """
    if err.is_terminal:
        with Progress(SpinnerColumn(), TextColumn("{task.description}"), console=err, transient=True) as bar:
            task = bar.add_task("", total=None)
            yield lambda what, much: bar.update(task, description=f"{what}: {much}")
    else:
        yield _Lines().show if lines else lambda _what, _much: None


class _Lines:
    """Prints how far something is."""

    def __init__(self) -> None:
        self._what = ""
        self._at = 0.0

    def show(self, what: str, much: str) -> None:
        """Print it, unless it was just printed."""
        now = time.monotonic()
        if what != self._what or now - self._at >= _BETWEEN:
            self._what, self._at = what, now
            err.print(f"{what}: {much}", markup=False, soft_wrap=True)
