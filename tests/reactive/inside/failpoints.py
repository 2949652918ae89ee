"""Failpoints of the reactive workers: calls before or after which a worker, once armed, kills itself."""

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any, ParamSpec, TypeVar

from agentbus.storage.archive import ArchiveStore
from agentbus.storage.port import Store
from agentbus.workers.bus.port import Bus
from tests.harness.failpoints import Failpoints, patch

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


Points = Failpoints[Failpoint]


def around(
    points: Points, call: Callable[Taken, Awaitable[Given]], before: Failpoint | None, after: Failpoint | None
) -> Callable[Taken, Awaitable[Given]]:
    """Return `call` with failpoints before and after it."""

    async def watched(*args: Taken.args, **kwargs: Taken.kwargs) -> Given:
        if before:
            points.pass_by(before)
        result = await call(*args, **kwargs)
        if after:
            points.pass_by(after)
        return result

    return watched


def instrument_store(store: Store, points: Points) -> Store:
    """Put failpoints around what reactive workers write to `store`."""
    patch(
        store.records,
        put_many=around(points, store.records.put_many, Failpoint.BEFORE_NOTE, Failpoint.AFTER_NOTE),
        add_many=around(points, store.records.add_many, Failpoint.BEFORE_NOTE, Failpoint.AFTER_NOTE),
        put_off=around(points, store.records.put_off, Failpoint.BEFORE_NOTE, Failpoint.AFTER_NOTE),
        drop=around(points, store.records.drop, None, Failpoint.AFTER_DROP),
    )
    patch(store.log, replace=around(points, store.log.replace, Failpoint.BEFORE_STRIP, Failpoint.AFTER_STRIP))
    return store


def instrument_bus(bus: Bus, points: Points) -> Bus:
    """Put failpoints around the giving of commands on `bus`."""
    patch(
        bus,
        publish_many=around(points, bus.publish_many, Failpoint.BEFORE_GIVE, Failpoint.AFTER_GIVE),
        request=around(points, bus.request, Failpoint.BEFORE_GIVE, Failpoint.AFTER_GIVE),
    )
    return bus


def instrument_archive(points: Points) -> None:
    """Put failpoints around the writing of a session to any archive."""
    write: Any = ArchiveStore.write
    patch(ArchiveStore, write=around(points, write, Failpoint.BEFORE_WRITE, Failpoint.AFTER_WRITE))
