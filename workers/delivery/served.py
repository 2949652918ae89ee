"""A worker that is served by HTTP: any number of them side by side, none of which keeps anything."""

import asyncio
from contextlib import AsyncExitStack

from agentbus.workers.delivery.loop_watch import STALL_LIMIT, LoopWatch
from agentbus.workers.delivery.presence import Presence
from agentbus.workers.worker import Health, Worker


class ServedWorker(Worker):
    """What such workers share: a port, a watch over the event loop, and whom they tell that they are there."""

    def __init__(self, presence: Presence | None) -> None:
        self._presence = presence
        self._watch = LoopWatch(STALL_LIMIT, lambda _: None)
        self._served = AsyncExitStack()
        self._ended = asyncio.Event()
        self.port: int | None = None
        """Where it listens; None while it does not."""

    async def wait(self) -> None:
        await self._ended.wait()

    def _over(self) -> None:
        """Say that it was closed."""
        self.port = None
        self._ended.set()

    async def _join(self) -> None:
        if self._presence:
            await self._presence.start()

    async def _leave(self) -> None:
        if self._presence:
            await self._presence.close()

    def _health(self, *, works: bool = True, draining: bool) -> Health:
        """Return how it is, if all that it has besides the port `works`."""
        lag = self._watch.lag
        live = self.port is not None and lag < STALL_LIMIT and works
        joined = self._presence is None or self._presence.joined
        member = self._presence.describe() if self._presence else None
        return Health(live=live, ready=live and joined and not draining, lag=lag, member=member)
