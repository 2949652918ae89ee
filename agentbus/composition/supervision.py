"""The running parts of a session system: one that fails is started again and reported, the others go on."""

import asyncio
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any, Final

from agentbus.contracts.telemetry import Action
from agentbus.storage.log_lines import Logger
from agentbus.workers.concurrency import ended, raise_if_cancelled

_PAUSES: Final = (0.1, 30.0)
"""The shortest and the longest pause before a part that failed is started again, in seconds."""

_STOP_SECONDS: Final = 15.0
"""Seconds that a part may take to end: it finishes what is in hand, and closes what it has opened."""

_log = Logger(__name__)


class ComponentState(StrEnum):
    """How a part of the system is."""

    STOPPED = "stopped"
    """It was not started, or it was stopped."""
    RUNNING = "running"
    """It does its work."""
    RESTARTING = "restarting"
    """It failed, and is about to be started again."""


class Component:
    """A part that runs until it is stopped. `run` begins it, calls its argument once it works, and does not return."""

    def __init__(self, name: str, run: Callable[[Callable[[], None]], Awaitable[None]]) -> None:
        self.name = name
        self._run = run
        self._task: asyncio.Task[None] | None = None
        self._up = asyncio.Event()
        self.state = ComponentState.STOPPED
        self.restarts = 0
        self.last_error: str | None = None

    async def start(self) -> None:
        """Start it and wait until it works. Raises what its first start fails with."""
        first = asyncio.create_task(self._supervise(), name=self.name)
        self._task = first
        ready = asyncio.create_task(self._up.wait())
        try:
            await asyncio.wait({first, ready}, return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            await self.stop()
            raise
        finally:
            ready.cancel()
        if first.done():
            self._task = None
            await first

    async def stop(self) -> None:
        """Stop it. Idempotent."""
        task, self._task = self._task, None
        try:
            await ended({task} if task else (), within=_STOP_SECONDS)
        finally:
            self.state = ComponentState.STOPPED
            self._up.clear()

    def describe(self) -> dict[str, Any]:
        """Return how it is, for status reports."""
        return {"state": self.state.value, "restarts": self.restarts, "last_error": self.last_error}

    async def _supervise(self) -> None:
        shortest, longest = _PAUSES
        pause = shortest
        loop = asyncio.get_running_loop()
        while True:
            begun = loop.time()
            try:
                await self._run(self._works)
            except Exception as error:
                raise_if_cancelled()
                if not self._up.is_set():
                    raise  # It never worked: whoever starts it has to know.
                self.last_error = f"{type(error).__name__}: {error}"
                _log.error(Action.COMPONENT_FAILED, component=self.name, error=self.last_error, pause=pause)
            self.state = ComponentState.RESTARTING
            if loop.time() - begun > longest:
                pause = shortest  # It had worked for a while.
            await asyncio.sleep(pause)
            pause = min(longest, pause * 2)
            self.restarts += 1

    def _works(self) -> None:
        self.state = ComponentState.RUNNING
        self._up.set()
