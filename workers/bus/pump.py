"""From the consumer's synchronous callback to an async handler, in order."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress

from workers.bus.port import Delivery

BatchHandler = Callable[[list[Delivery]], Awaitable[None]]
"""Handles what has arrived, in order, and acknowledges it; must not raise."""


class Pump:
    """Gives deliveries to one handler, in order: all that has arrived when the handler is free, never waiting."""

    def __init__(self, handle: BatchHandler, *, most: int = 100) -> None:
        self._handle = handle
        self._most = most
        self._arrived: deque[Delivery] = deque()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def push(self, delivery: Delivery) -> None:
        """Take a delivery: this is the consumer's callback."""
        self._arrived.append(delivery)
        self._wake.set()

    def forget(self) -> None:
        """Forget what has arrived and was not begun: its consumer is gone, it is delivered again."""
        self._arrived.clear()

    async def start(self) -> None:
        """Begin to hand over."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop, in the middle of a batch if need be: what was not acknowledged is delivered again."""
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            batch = [self._arrived.popleft() for _ in range(min(self._most, len(self._arrived)))]
            if not self._arrived:
                self._wake.clear()
            if batch:
                await self._handle(batch)
