"""Whoever adds a call to a port is told here, within a second, what else has to know of it: no backend is needed."""

import inspect
from typing import get_type_hints

import pytest

from agentbus.storage.factory import open_store
from agentbus.storage.port import Store
from agentbus.testing.conformance import store_cancelled_suite
from agentbus.workers.bus.port import Bus
from tests.contract import bus_cancelled_suite


def public(port: type) -> set[str]:
    """Return the names of the calls that are waited for."""
    return {name for name, _ in inspect.getmembers(port, inspect.iscoroutinefunction) if not name.startswith("_")}


def calls_of_a_store() -> set[str]:
    """Return them of a store and of its sections, `log.append`."""
    sections = get_type_hints(Store).items()
    return public(Store) | {f"{section}.{name}" for section, port in sections for name in public(port)}


def test_calls_are_found() -> None:
    assert {"start", "close", "log.append", "heads.get", "records.put_many", "locks.release"} < calls_of_a_store()
    assert {"start", "close", "publish", "consume"} < public(Bus)


def test_every_call_of_a_store_is_cancelled_in_its_suite() -> None:
    assert store_cancelled_suite.ROWS.keys() == calls_of_a_store()


def test_every_call_of_a_bus_is_cancelled_in_its_suite() -> None:
    assert bus_cancelled_suite.ROWS.keys() == public(Bus)


@pytest.mark.parametrize(
    "url",
    [
        "file:///nowhere",
        "sqlite:////nowhere/store.db",
        "postgresql://nowhere/store",
        "mongodb://nowhere/store",
        "redis://nowhere",
    ],
)
def test_every_call_of_a_store_waits_with_an_end(url: str) -> None:
    store = open_store(url)
    places = {"": store, **{f"{name}.": getattr(store, name) for name in get_type_hints(Store)}}
    calls = {f"{at}{name}": getattr(type(place), name) for at, place in places.items() for name in public(type(place))}
    assert calls.keys() == calls_of_a_store()
    # Those of one that looks whether it knows end as those of the one that it asks then, and so do a port's own.
    own = [call for call in calls.values() if not call.__module__.startswith("agentbus.storage.port.")]
    assert {call.__qualname__ for call in own if not hasattr(call, "__wrapped__")} <= {"SqlHeads.get"}
