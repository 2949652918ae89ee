"""A subscription to one session from a sequence on: read from its log first, and then as events come, without a gap."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from agentbus.contracts.commands import CommandReply
from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.errors import Refused, UnsupportedType
from agentbus.contracts.ids import SessionId, conversation_of
from agentbus.contracts.telemetry import Action
from agentbus.storage.log_lines import Logger
from agentbus.workers.bus.memory.topics import topic_matches
from agentbus.workers.bus.port import Bus
from agentbus.workers.concurrency import afterwards, ended, in_turn, passing_over, raise_if_cancelled
from agentbus.workers.delivery.retry import while_away
from agentbus.workers.delivery.trace_contexts import traces
from agentbus.workers.delivery.waking import Waking, Woken
from agentbus.workers.faults import told
from agentbus.workers.outages import sparingly
from agentbus.workers.reactive.handler import EventHandler, given

Ask = Callable[[SessionId, int, str | None], Awaitable[CommandReply]]
"""Asks for a session's events: from a number on, or from the place that the answer before had."""

LOOK: Final = 30.0
"""Seconds after which the log is looked at though nothing was heard."""

_log = Logger(__name__)


class CatchUp:
    """The events of one session from `first` on whose routing key matches one of `patterns`, each once, in order.

    Announcements only wake it: what it hands over is always read from the log, by the session's workers. So none is
    lost, doubled or reordered where a read and an announcement meet, and what waits is in the log, not in memory.
    """

    def __init__(
        self, bus: Bus, ask: Ask, patterns: tuple[str, ...], handler: EventHandler, *, session: SessionId, first: int
    ) -> None:
        self._ask = ask
        self._where = bus.topology.events
        self._patterns = patterns
        self._handler = handler
        self._session = session
        self._first = first
        self._place: str | None = None
        self._waking = Waking(bus, patterns, Woken, what=f"news of session {session}")
        self._running: asyncio.Task[None] | None = None
        self._idle = asyncio.Event()
        """Set while no handler is under way."""
        self._idle.set()
        self._draining = False
        self._over = asyncio.Event()
        self._ended_by: Exception | None = None

    async def over(self) -> Refused:
        """Return once there is nothing more to come, with the reason: the session was deleted, for one.

        Raises what ended it otherwise. It returns never if it was drained or closed.
        """
        await self._over.wait()
        if isinstance(self._ended_by, Refused):
            return self._ended_by
        raise self._ended_by or RuntimeError("nothing ended it")

    async def start(self) -> None:
        """Begin to hand over. Raises what the first look at the log does: SessionNotFound, ReplyTimeout. Idempotent."""
        if self._running is not None:
            return
        await self._waking.start()  # first, so that nothing falls between the log and what comes
        try:
            answer = await self._ask(self._session, self._first, self._place)
        except BaseException:
            await afterwards("stop listening", self._waking.close())
            raise
        self._running = asyncio.create_task(self._run(answer), name=f"hand over the events of {self._session}")

    async def drain(self, *, within: float) -> None:
        """Begin no more, and wait up to `within` seconds for the handler that is under way."""
        self._draining = True
        with passing_over(TimeoutError):
            async with asyncio.timeout(within):
                await self._idle.wait()

    async def close(self) -> None:
        """End it, in the middle of a call if need be. Idempotent."""
        await in_turn(partial(ended, {self._running} if self._running else ()), self._waking.close)

    async def _run(self, answer: CommandReply) -> None:
        try:
            with self._waking.to(conversation_of(self._session)) as woken:
                woken.woken.set()
                await self._follow(answer, woken.woken)
        except Exception as error:
            raise_if_cancelled()
            if isinstance(error, Refused):
                _log.warning(Action.EVENTS_ENDED, session_id=self._session, error=str(error))
            else:
                _log.error(Action.EVENTS_ENDED, session_id=self._session, **told(error))
            self._ended_by = error
            self._over.set()

    async def _follow(self, answer: CommandReply, woken: asyncio.Event) -> None:
        while True:
            for body in answer.events or ():
                if self._draining:
                    return
                if (event := _read(body)) is not None and self._wants(event.data.routing_key):
                    await self._hand_over(event)
            self._place = answer.place
            if not answer.more:
                await _heard(woken)
                woken.clear()
            answer = await while_away("read a session's events", self._ask, self._session, self._first, self._place)

    def _wants(self, topic: str) -> bool:
        return any(topic_matches(pattern, topic) for pattern in self._patterns)

    async def _hand_over(self, event: EventEnvelope) -> None:
        self._idle.clear()
        try:
            with traces().handling(self._where, event):
                await given(event, self._handle)
        finally:
            self._idle.set()

    async def _handle(self, event: EventEnvelope) -> None:
        await while_away("handle an event", self._handler, event)


def _read(body: str) -> EventEnvelope | None:
    """Return an event; None for one of a later release: subscribers pass over what they do not know."""
    try:
        return EventEnvelope.from_bytes(body.encode())
    except UnsupportedType as error:
        if (more := sparingly(Action.EVENT_UNKNOWN)) is not None:
            _log.info(Action.EVENT_UNKNOWN, error=str(error), **more)
        return None


async def _heard(woken: asyncio.Event) -> None:
    """Wait until something may have come."""
    with passing_over(TimeoutError):
        async with asyncio.timeout(LOOK):
            await woken.wait()
