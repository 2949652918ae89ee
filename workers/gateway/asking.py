"""Platforms that are asked, as they can't reach us: one gateway at a time asks for an account."""

import asyncio
from typing import Final

from agentbus.contracts.clock import Clock
from agentbus.contracts.telemetry import Action
from agentbus.storage.log_lines import Logger
from agentbus.storage.port import Store
from agentbus.workers.adapters.pace import Pace
from agentbus.workers.adapters.port import NotNow, Source
from agentbus.workers.concurrency import afterwards, in_turn
from agentbus.workers.gateway.intake import LINES_A_SECOND, Intake
from agentbus.workers.reactive.time_loop import TimeLoop

LEASE: Final = 90.0
"""Seconds for which a gateway that asks keeps the others from it: longer than a platform holds a request."""

_LOOK: Final = 5.0
"""Seconds between two looks of a gateway that does not ask, whether it may."""
_LONGEST: Final = 30.0

_log = Logger(__name__)


class Asking:
    """Asks for what is new of one account, in turn with those who would as well.

    The lease is a courtesy: platforms don't like two who ask. What both publish is there once all the same.
    """

    def __init__(
        self, intake: Intake, channel: str, account: str, source: Source, *, store: Store, prefix: str, clock: Clock
    ) -> None:
        self._intake = intake
        self._channel = channel
        self._account = account
        self._source = source
        self._store = store
        self._clock = clock
        self._lock = f"{prefix}/asking/{channel}/{account}"
        self._token: int | None = None
        self._said = Pace(LINES_A_SECOND)
        self._loop = TimeLoop(f"ask {channel} for {account}", self._turn, interval=_LOOK)

    @property
    def running(self) -> bool:
        """Whether it asks, or waits to."""
        return self._loop.running

    async def start(self) -> None:
        """Begin."""
        await self._loop.start()

    async def close(self) -> None:
        """Stop; what was not published is asked for by the next one. Idempotent."""
        await in_turn(self._loop.close, self._give_up, self._source.close)

    async def _turn(self) -> bool:
        """Ask once, if it is this gateway's turn, and publish what there is."""
        if not await self._leads():
            return False
        try:
            received = await self._source.next(self._clock)
        except NotNow as error:
            if self._said.allows():
                _log.warning(Action.CHANNEL_SILENT, channel=self._channel, account=self._account, reason=str(error))
            await asyncio.sleep(min(error.after, _LONGEST))
            return True
        await self._intake.give(self._channel, self._account, received)
        self._source.taken()
        return True

    async def _leads(self) -> bool:
        """Take the lease, or renew it; return whether it is this gateway's."""
        if self._token is not None:
            lock = await self._store.locks.renew(self._lock, self._token, ttl=LEASE)
        else:
            lock = await self._store.locks.acquire(self._lock, ttl=LEASE)
        self._token = lock.token if lock else None
        return lock is not None

    async def _give_up(self) -> None:
        token, self._token = self._token, None
        if token is not None:
            await afterwards("let others ask", self._released(token))

    async def _released(self, token: int) -> None:
        await self._store.locks.release(self._lock, token)
