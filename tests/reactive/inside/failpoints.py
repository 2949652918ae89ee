"""Failpoints of the reactive workers: calls before or after which a worker, once armed, kills itself."""

import os
import signal
from collections.abc import Awaitable, Callable
from enum import StrEnum
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from storage.archive import ArchiveStore
from storage.port import Store
from tests.chaos.inside.instruments import patch
from workers.bus.port import Bus

Taken = ParamSpec("Taken")
Given = TypeVar("Given")


class Failpoint(StrEnum):
    """Where a worker may die."""

    BEFORE_NOTE = "before_note"
    """A deadline or task is not kept yet."""
    AFTER_NOTE = "after_note"
    """It is kept; its event is not acknowledged."""
    BEFORE_GIVE = "before_give"
    """It is decided what to do; no command is sent."""
    AFTER_GIVE = "after_give"
    """Commands are sent; nothing else knows of them."""
    BEFORE_WRITE = "before_write"
    """A session has ended; nothing of it is in the archive."""
    AFTER_WRITE = "after_write"
    """It is in the archive, verified; its owner does not know."""
    BEFORE_STRIP = "before_strip"
    """Its owner knows; its events are still in the log."""
    AFTER_STRIP = "after_strip"
    """They are gone; its deadline is still there."""
    AFTER_DROP = "after_drop"
    """A deadline or task is gone."""


class Failpoints:
    """Looks at each place whether to die there."""

    def __init__(self, file: Path) -> None:
        self._file = file
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
                os.kill(os.getpid(), signal.SIGKILL)

    def around(
        self, call: Callable[Taken, Awaitable[Given]], before: Failpoint | None, after: Failpoint | None
    ) -> Callable[Taken, Awaitable[Given]]:
        """Return `call` with failpoints before and after it."""

        async def watched(*args: Taken.args, **kwargs: Taken.kwargs) -> Given:
            if before:
                self.pass_by(before)
            result = await call(*args, **kwargs)
            if after:
                self.pass_by(after)
            return result

        return watched


def arming_file(folder: Path, worker: str) -> Path:
    """Return the file that arms a worker."""
    return folder / f"{worker}.arm"


def arm(folder: Path, worker: str, point: Failpoint, *, hit: int) -> None:
    """Make `worker` die at the `hit`-th time it comes by `point` from now on."""
    file = arming_file(folder, worker)
    draft = file.with_suffix(".draft")
    draft.write_text(f"{point} {hit}", "utf-8")
    draft.rename(file)


def instrument_store(store: Store, points: Failpoints) -> Store:
    """Put failpoints around what reactive workers write to `store`."""
    patch(
        store,
        put_records=points.around(store.put_records, Failpoint.BEFORE_NOTE, Failpoint.AFTER_NOTE),
        replace_commits=points.around(store.replace_commits, Failpoint.BEFORE_STRIP, Failpoint.AFTER_STRIP),
        drop_records=points.around(store.drop_records, None, Failpoint.AFTER_DROP),
    )
    return store


def instrument_bus(bus: Bus, points: Failpoints) -> Bus:
    """Put failpoints around the giving of commands on `bus`."""
    patch(
        bus,
        publish_many=points.around(bus.publish_many, Failpoint.BEFORE_GIVE, Failpoint.AFTER_GIVE),
        request=points.around(bus.request, Failpoint.BEFORE_GIVE, Failpoint.AFTER_GIVE),
    )
    return bus


def instrument_archive(points: Failpoints) -> None:
    """Put failpoints around the writing of a session to any archive."""
    write: Any = ArchiveStore.write
    patch(ArchiveStore, write=points.around(write, Failpoint.BEFORE_WRITE, Failpoint.AFTER_WRITE))
