"""Stores and buses that are switched off: they refuse, or never answer; and what is left when something was closed."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self, cast

from agentbus.contracts.errors import AgentBusError, BrokerUnavailable, StoreUnavailable
from agentbus.storage.memory import MemoryStore
from agentbus.storage.port import Store
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.bus.port import Bus
from agentbus.workers.concurrency import standing
from tests.harness.patience import PATIENCE

SOON = 3.0
"""Seconds within which what has nothing in hand ends, whatever does not answer."""


class Mode(StrEnum):
    UP = "up"
    DOWN = "down"
    """Each call fails."""
    FROZEN = "frozen"
    """No call is ever answered; one that is cancelled fails with the error of a lost connection, as drivers do."""


@dataclass
class Switch:
    mode: Mode = Mode.UP


class _Switched:
    """Passes calls on to a store, each of its sections, or a bus while its switch is up."""

    def __init__(self, inner: object, switch: Switch, error: Callable[[], AgentBusError]) -> None:
        self._inner = inner
        self._switch = switch
        self._error = error

    async def __aenter__(self) -> Self:
        """Whoever made the inner one opens it."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Whoever made the inner one closes it."""

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if isinstance(self._inner, Store) and name in Store.__annotations__:
            return _Switched(found, self._switch, self._error)
        if name == "close" or not asyncio.iscoroutinefunction(found):
            return found

        async def call(*args: Any, **given: Any) -> Any:
            match self._switch.mode:
                case Mode.UP:
                    await asyncio.sleep(0)  # it can be cancelled before it took effect, and after
                    result = await found(*args, **given)
                    await asyncio.sleep(0)
                    return result
                case Mode.DOWN:
                    raise self._error()
                case Mode.FROZEN:
                    try:
                        await asyncio.Event().wait()
                    except asyncio.CancelledError:
                        raise self._error() from None

        return call


def switched_store(store: MemoryStore, switch: Switch) -> Store:
    return cast("Store", _Switched(store, switch, StoreUnavailable))


def switched_bus(bus: MemoryBus, switch: Switch) -> Bus:
    return cast("Bus", _Switched(bus, switch, BrokerUnavailable))


@contextmanager
def nothing_left() -> Iterator[None]:
    """Check that the tasks after the body are those that were there before it."""
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    assert {f"{task.get_name()}: {standing(task)}" for task in left} == set()


@asynccontextmanager
async def quickly(seconds: float = SOON) -> AsyncIterator[None]:
    """Check that the body is over in its time: not by cancelling it, which would hurry it."""
    begun = time.monotonic()
    async with asyncio.timeout(PATIENCE):
        yield
    assert time.monotonic() - begun < seconds
