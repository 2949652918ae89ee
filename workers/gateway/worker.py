"""The gateway worker: any number of them side by side, none of which keeps anything."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial

from starlette.applications import Starlette

from agentbus.contracts.telemetry import Action
from agentbus.storage.log_lines import Logger
from agentbus.workers.concurrency import in_turn
from agentbus.workers.delivery.presence import Presence
from agentbus.workers.delivery.served import ServedWorker
from agentbus.workers.gateway.app import Gateway
from agentbus.workers.gateway.asking import Asking
from agentbus.workers.gateway.listening import Listening
from agentbus.workers.worker import HAND_BACK_SECONDS, Health

Serving = Callable[[Starlette], AbstractAsyncContextManager[int]]
"""Serves an application while it is entered; gives the port."""

_log = Logger(__name__)


class GatewayWorker(ServedWorker):
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
        super().__init__(presence)
        self._gateway = gateway
        self._serving = serving
        self._asking = asking
        self._listening = listening

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
            await self._join()
        except BaseException:
            await self.close(within=0)
            raise
        _log.info(Action.WORKER_STARTED, port=self.port)

    async def drain(self, *, within: float = HAND_BACK_SECONDS) -> None:
        """Ask platforms to send again later, elsewhere, and answer those who wait for the broker's confirm."""
        await in_turn(*(one.close for one in self._asking), partial(self._gateway.drain, within))

    async def close(self, *, within: float = HAND_BACK_SECONDS) -> None:
        try:
            deaf = (one.close for one in self._listening)
            await in_turn(
                self._leave, partial(self.drain, within=within), self._served.aclose, *deaf, self._watch.close
            )
        finally:
            self._over()
        _log.info(Action.WORKER_CLOSED)

    def health(self) -> Health:
        asks = all(one.running for one in self._asking) or self._gateway.draining
        hears = all(one.running for one in self._listening)
        return self._health(works=asks and hears, draining=self._gateway.draining)
