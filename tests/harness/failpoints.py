"""Failpoints: a process of ours is told in a file where, and when it comes by there, it kills itself."""

import os
import signal
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

Point = TypeVar("Point", bound=StrEnum)
"""The failpoints of one kind of worker."""


class Failpoints(Generic[Point]):
    """Looks at each place whether to die there; `on_death` is told where, just before."""

    def __init__(self, file: Path, on_death: Callable[[Point], None] | None = None) -> None:
        self._file = file
        self._on_death = on_death
        self._hits = 0

    @classmethod
    def of_this_process(cls, on_death: Callable[[Point], None] | None = None) -> Self:
        """Return those of a worker that a fleet started."""
        return cls(_arming_file(Path(os.environ["HARNESS_FOLDER"]), os.environ["HARNESS_WORKER"]), on_death)

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


def _arming_file(folder: Path, worker: str) -> Path:
    return folder / f"{worker}.arm"


def arm(folder: Path, worker: str, point: StrEnum, *, hit: int) -> None:
    """Make `worker` die at the `hit`-th time it comes by `point` from now on."""
    file = _arming_file(folder, worker)
    draft = file.with_suffix(".draft")
    draft.write_text(f"{point} {hit}", "utf-8")
    draft.rename(file)


def patch(target: Any, **replacements: Any) -> None:
    """Replace attributes of `target`. Raises AttributeError for one that is not there: its fault would never happen."""
    for name, replacement in replacements.items():
        getattr(target, name)
        setattr(target, name, replacement)
