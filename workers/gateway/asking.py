"""Platforms that are asked, as they can't reach us: one gateway at a time asks for an account."""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Final

from agentbus.contracts.clock import Clock
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.telemetry import Action
from agentbus.storage.damage import unless_damaged
from agentbus.storage.log_lines import Logger
from agentbus.storage.port import Store
from agentbus.workers.adapters.pace import Pace
from agentbus.workers.adapters.port import NotNow, Place, Source
from agentbus.workers.concurrency import afterwards, in_turn
from agentbus.workers.gateway.intake import LINES_A_SECOND, Intake
from agentbus.workers.reactive.time_loop import TimeLoop

LEASE: Final = 30.0
"""Seconds for which a gateway that asks keeps the others from it, unless it says that it still does."""

GROUP: Final = "asked"
"""The group of the records that say how far platforms were read."""

_SAYING: Final = 5.0
"""Seconds between two times that it says so."""
_LOOK: Final = 5.0
"""Seconds between two looks of a gateway that does not ask, whether it may."""
_LONGEST: Final = 30.0
_NOTED: Final = 1.0
"""Seconds between two notes of how far it is: what was read since is read again by whoever asks next."""

_log = Logger(__name__)


class Asking:
    """Asks for what is new of one account, or of a share of it, in turn with those who would as well.

    The lease is a courtesy: platforms don't like two who ask. What both publish is there once all the same. So is what
    whoever asks next reads again; how far a platform was read is noted after the broker has it, and not before.
    """

    def __init__(
        self,
        intake: Intake,
        channel: str,
        account: str,
        source: Source,
        *,
        store: Store,
        prefix: str,
        clock: Clock,
        time: Callable[[], float] = monotonic,
    ) -> None:
        self._intake = intake
        self._channel = channel
        self._account = account
        self._source = source
        self._store = store
        self._clock = clock
        self._time = time
        self._lock = "/".join(filter(None, [prefix, "asking", channel, account, source.share]))
        self._token: int | None = None
        self._noted: Place | None = None
        self._note_at = 0.0
        self._said = Pace(LINES_A_SECOND)
        self._loop = TimeLoop(f"ask {channel} for {account}", self._turn, interval=_LOOK)
        self._leading = TimeLoop(f"say who asks {channel} for {account}", self._say, interval=_SAYING)

    @property
    def running(self) -> bool:
        """Whether it asks, or waits to."""
        return self._loop.running and self._leading.running

    async def start(self) -> None:
        """Begin."""
        await self._loop.start()
        await self._leading.start()

    async def close(self) -> None:
        """Stop; what was not published is asked for by the next one. Idempotent."""
        await in_turn(self._loop.close, self._leading.close, self._source.close, self._give_up)

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
        if self._token is not None and self._time() >= self._note_at:
            await self._note()
        return True

    async def _leads(self) -> bool:
        """Take the lease if it is nobody's; return whether it is this gateway's."""
        if self._token is not None:
            return True
        await self._source.rest()
        lock = await self._store.locks.acquire(self._lock, ttl=LEASE)
        if lock is None:
            return False
        record = await self._store.records.get(RecordKind.ASKED, self._lock)
        self._noted = unless_damaged(record, lambda known: known.data) if record else None
        self._source.go_on(self._noted)
        self._token = lock.token
        return True

    async def _say(self) -> bool:
        """Let the others know that this gateway asks, if it does, and how far it is."""
        token = self._token
        if token is None:
            return False
        lock = await self._store.locks.renew(self._lock, token, ttl=LEASE)
        if lock is None and self._token == token:
            self._token = None
        elif lock is not None:
            await self._note()
        return False

    async def _note(self) -> None:
        """Keep how far the platform was read, if it has to be told."""
        place = self._source.place
        if place is None or place == self._noted:
            return
        record = Record(
            kind=RecordKind.ASKED, key=self._lock, group=GROUP, created_at=self._clock.now(), data=dict(place)
        )
        await self._store.records.put(record)
        self._noted, self._note_at = place, self._time() + _NOTED

    async def _give_up(self) -> None:
        token, self._token = self._token, None
        if token is not None:
            await afterwards("note how far it is", self._note())
            await afterwards("let others ask", self._released(token))

    async def _released(self, token: int) -> None:
        await self._store.locks.release(self._lock, token)
