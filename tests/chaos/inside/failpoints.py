"""Failpoints: places in a round at which a worker, once armed, kills itself."""

import os
import signal
from enum import StrEnum
from pathlib import Path

from tests.chaos.inside.trace import Trace


class Failpoint(StrEnum):
    """Where a worker may die."""

    BEFORE_APPEND = "before_append"
    """Nothing is committed yet."""
    AFTER_APPEND = "after_append"
    """Committed; the heads are not written."""
    AFTER_HEAD = "after_head"
    """Heads written; nothing is announced."""
    AFTER_PUBLISH = "after_publish"
    """Announced; nothing is acknowledged."""


def arming_file(folder: Path, worker: str) -> Path:
    """Return the file that arms a worker."""
    return folder / f"{worker}.arm"


def arm(folder: Path, worker: str, point: Failpoint, *, hit: int) -> None:
    """Make `worker` die at the `hit`-th time it comes by `point` from now on."""
    file = arming_file(folder, worker)
    draft = file.with_suffix(".draft")
    draft.write_text(f"{point} {hit}", "utf-8")
    draft.rename(file)


class Failpoints:
    """Looks at each place whether to die there."""

    def __init__(self, file: Path, trace: Trace) -> None:
        self._file = file
        self._trace = trace
        self._hits = 0

    def pass_by(self, point: Failpoint) -> None:
        """Die here if it is time."""
        try:
            armed, hit = self._file.read_text("utf-8").split()
        except FileNotFoundError:
            return
        if armed == point:
            self._hits += 1
            if self._hits >= int(hit):
                self._file.unlink()
                self._trace.write("died", point=point)
                os.kill(os.getpid(), signal.SIGKILL)
