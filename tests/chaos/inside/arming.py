"""Arming: a worker is told in a file at which failpoint, and at which time it comes by, it kills itself."""

import os
import signal
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Generic, TypeVar

Point = TypeVar("Point", bound=StrEnum)
"""The failpoints of one kind of worker."""


class Failpoints(Generic[Point]):
    """Looks at each place whether to die there; `on_death` is told where, just before."""

    def __init__(self, file: Path, on_death: Callable[[Point], None] | None = None) -> None:
        self._file = file
        self._on_death = on_death
        self._hits = 0

    def pass_by(self, point: Point) -> None:
        """Die here if it is time."""
        try:
            armed, hit = self._file.read_text("utf-8").split()
        except FileNotFoundError:
            return
        if armed == point:
            self._hits += 1
            if self._hits >= int(hit):
                self._file.unlink()
                if self._on_death:
                    self._on_death(point)
                os.kill(os.getpid(), signal.SIGKILL)


def arming_file(folder: Path, worker: str) -> Path:
    """Return the file that arms a worker."""
    return folder / f"{worker}.arm"


def arm(folder: Path, worker: str, point: StrEnum, *, hit: int) -> None:
    """Make `worker` die at the `hit`-th time it comes by `point` from now on."""
    file = arming_file(folder, worker)
    draft = file.with_suffix(".draft")
    draft.write_text(f"{point} {hit}", "utf-8")
    draft.rename(file)
