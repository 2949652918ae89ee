"""Those who follow events by server-sent events: how many there are, and how their streams begin and end."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from agentbus.contracts.errors import StoreError
from agentbus.contracts.telemetry import Action
from agentbus.http.problems import Ending, Refusal
from agentbus.storage.log_lines import Logger
from agentbus.workers.adapters.port import LASTING
from agentbus.workers.concurrency import ended, passing_over, raise_if_cancelled
from agentbus.workers.faults import told
from agentbus.workers.following.live import Live
from agentbus.workers.following.tail import PlaceGone
from agentbus.workers.following.telling import Pace, Say
from agentbus.workers.outages import sparingly

Follow = Callable[[Say], Coroutine[Any, Any, None]]
"""Sends what there is to send, until it is cancelled, or there is no more."""

Begin = Callable[[], Coroutine[Any, Any, Follow]]
"""Finds out what there is to send, and to whom. Raises AgentBusError for what is refused."""
Holds = Callable[[], Awaitable[bool]]
"""Whether who follows still may: it is asked at each sign of life. Raises StoreError."""

_FAREWELL: Final = 2.0
_BEGINNING: Final = 60.0
"""Seconds in which a stream begins, if many want one at once."""
_AT_ONCE: Final = 16
"""Streams that begin at the same time: each reads from the store."""
_HEADERS: Final = {"cache-control": "no-store", "x-accel-buffering": "no"}

_log = Logger(__name__)


class BadPlace(Refusal):
    """That is no Last-Event-ID that was given out here."""


class TooManyStreams(Refusal):
    """As many follow events here as may: call again, elsewhere or later."""


class Streams:
    """The streams of this process, `most` at a time. What each of them holds is a place, and what is being sent."""

    def __init__(self, live: Live, *, most: int, pace: Pace | None = None) -> None:
        self.live = live
        self.pace = pace or Pace()
        self._most = most
        self._open: set[asyncio.Task[Any]] = set()
        self._count = 0
        self._beginning = asyncio.Semaphore(_AT_ONCE)
        self._ending = False

    def __len__(self) -> int:
        return self._count

    async def start(self) -> None:
        """Take followers. Raises StoreError, BusError."""
        self._ending = False
        await self.live.start()

    def let_go(self) -> None:
        """Take no more, and end the streams that there are: whoever follows comes back, elsewhere. Idempotent."""
        self._ending = True
        for stream in self._open:
            stream.cancel()

    async def close(self) -> None:
        """End it all. Idempotent."""
        self.let_go()
        await self.live.close()

    def check(self) -> None:
        """Raise Ending, or TooManyStreams, unless there is room for one more."""
        if self._ending or not self.live.running:
            raise Ending("nobody can follow events here at the moment")
        if self._count >= self._most:
            raise TooManyStreams

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count a stream while it lasts. Raises as `check`."""
        self.check()
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1

    def answer(self, begin: Begin, holds: Holds) -> Response:
        """Return a stream as the answer to a call."""
        return _Stream(self, begin, holds)

    async def begun(self, begin: Begin, gone: "asyncio.Task[None]") -> Follow | None:
        """Find out what to send, a few at a time; return None if who wanted it did not wait for that.

        Those who wait hold nothing but their connection, so that thousands may come at once. Raises as `begin` does,
        and Ending once it takes too long.
        """
        beginning = asyncio.create_task(self._in_turn(begin), name="find out what to tell")
        self._open.add(beginning)
        try:
            await asyncio.wait({beginning, gone}, return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                return None
            if beginning.cancelled():
                raise Ending
            return beginning.result()
        finally:
            self._open.discard(beginning)
            if not beginning.done():
                await ended({beginning})

    async def serve(self, follow: Follow, holds: Holds, gone: "asyncio.Task[None]", say: Say) -> bool:
        """Let somebody follow; return whether they are still there at the end."""
        if self._ending:
            return True
        stream = asyncio.create_task(_followed(follow, say), name="tell what happens")
        self._open.add(stream)
        try:
            while not stream.done() and not gone.done() and await _may(holds):
                await asyncio.wait({stream, gone}, timeout=self.pace.beat, return_when=asyncio.FIRST_COMPLETED)
            return not gone.done()
        finally:
            self._open.discard(stream)
            await ended({stream})

    async def _in_turn(self, begin: Begin) -> Follow:
        try:
            async with asyncio.timeout(_BEGINNING), self._beginning:
                return await begin()
        except TimeoutError:
            raise_if_cancelled()
            raise Ending("too many begin to follow events at the moment") from None


class _Stream(Response):
    """An answer that lasts."""

    def __init__(self, streams: Streams, begin: Begin, holds: Holds) -> None:
        super().__init__(headers=_HEADERS, media_type="text/event-stream")
        del self.headers["content-length"]
        self._streams = streams
        self._begin = begin
        self._holds = holds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def say(sent: bytes) -> None:
            async with asyncio.timeout(self._streams.pace.send):
                await send({"type": "http.response.body", "body": sent, "more_body": True})

        with self._streams.counted():
            scope.get(LASTING, _nothing)()
            gone = asyncio.create_task(_until_gone(receive), name="wait until a follower goes")
            try:
                follow = await self._streams.begun(self._begin, gone)
                if follow is None:
                    return
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                if await self._streams.serve(follow, self._holds, gone, say):
                    await _promptly(send({"type": "http.response.body", "body": b"", "more_body": False}))
            finally:
                await ended({gone})


async def _may(holds: Holds) -> bool:
    """Whether who follows still may; who it is while the store is away can't be told, and nothing else either."""
    try:
        return await holds()
    except StoreError:
        raise_if_cancelled()
        return True


async def _followed(follow: Follow, say: Say) -> None:
    try:
        await follow(say)
    except (OSError, TimeoutError):  # they are gone, or take nothing: they catch up when they are back
        raise_if_cancelled()
    except (StoreError, PlaceGone) as error:
        raise_if_cancelled()
        if (more := sparingly(Action.FOLLOWER_NOT_TOLD, type(error).__name__)) is not None:
            _log.warning(Action.FOLLOWER_NOT_TOLD, **told(error), **more)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _promptly(farewell: Awaitable[None]) -> None:
    with passing_over(OSError, RuntimeError):
        async with asyncio.timeout(_FAREWELL):
            await farewell


def _nothing() -> None:
    """Let the server do as it does."""
