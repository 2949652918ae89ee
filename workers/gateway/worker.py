"""The gateway worker: any number of them side by side, none of which keeps anything."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial

from starlette.applications import Starlette

from agentbus.contracts.telemetry import Action
from agentbus.storage.log_lines import Logger
from agentbus.workers.concurrency import in_turn
from agentbus.workers.delivery.loop_watch import STALL_LIMIT, LoopWatch
from agentbus.workers.delivery.presence import Presence
from agentbus.workers.gateway.app import Gateway
from agentbus.workers.gateway.asking import Asking
from agentbus.workers.gateway.listening import Listening
from agentbus.workers.worker import HAND_BACK_SECONDS, Health, Worker

Serving = Callable[[Starlette], AbstractAsyncContextManager[int]]
"""Serves an application while it is entered; gives the port."""

_log = Logger(__name__)


class GatewayWorker(Worker):
    """Has a gateway served, by `serving`."""

    def __init__(
        self,
        gateway: Gateway,
        serving: Serving,
        *,
        asking: Sequence[Asking] = (),
        listening: Sequence[Listening] = (),
        presence: Presence | None = None,
    ) -> None:
        self._gateway = gateway
        self._serving = serving
        self._asking = asking
        self._listening = listening
        self._presence = presence
        self._watch = LoopWatch(STALL_LIMIT, lambda _: None)
        self._served = AsyncExitStack()
        self._ended = asyncio.Event()
        self.port: int | None = None
        """Where it listens; None while it does not."""

    async def start(self) -> None:
        self._ended.clear()
        self._gateway.open()
        try:
            await self._watch.start()
            for listening in self._listening:
                await listening.start()
            self.port = await self._served.enter_async_context(self._serving(self._gateway.app))
            for one in self._asking:
                await one.start()
            if self._presence:
                await self._presence.start()
        except BaseException:
            await self.close(within=0)
            raise
        _log.info(Action.WORKER_STARTED, port=self.port)

    async def wait(self) -> None:
        await self._ended.wait()

    async def drain(self, *, within: float = HAND_BACK_SECONDS) -> None:
        """Ask platforms to send again later, elsewhere, and answer those who wait for the broker's confirm."""
        await in_turn(*(one.close for one in self._asking), partial(self._gateway.drain, within))

    async def close(self, *, within: float = HAND_BACK_SECONDS) -> None:
        presence = (self._presence.close,) if self._presence else ()
        try:
            deaf = (one.close for one in self._listening)
            await in_turn(*presence, partial(self.drain, within=within), self._served.aclose, *deaf, self._watch.close)
        finally:
            self.port = None
            self._ended.set()
        _log.info(Action.WORKER_CLOSED)

    def health(self) -> Health:
        lag = self._watch.lag
        asks = all(one.running for one in self._asking) or self._gateway.draining
        hears = all(one.running for one in self._listening)
        live = self.port is not None and lag < STALL_LIMIT and asks and hears
        joined = self._presence is None or self._presence.joined
        member = self._presence.describe() if self._presence else None
        return Health(live=live, ready=live and joined and not self._gateway.draining, lag=lag, member=member)
