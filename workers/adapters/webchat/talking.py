"""One connection of a visitor, by whatever way: what is new goes to the window until one of many ends is reached."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from enum import IntEnum
from typing import Any, Final

from agentbus.contracts.errors import StoreError
from agentbus.contracts.telemetry import Action
from agentbus.storage.log_lines import Logger
from agentbus.workers.adapters.port import Heard, Hosting
from agentbus.workers.adapters.webchat.feed import Feed, Place
from agentbus.workers.adapters.webchat.shown import Frame, View
from agentbus.workers.adapters.webchat.tokens import Visitor
from agentbus.workers.adapters.webchat.visits import Limits
from agentbus.workers.concurrency import ended, raise_if_cancelled
from agentbus.workers.faults import told
from agentbus.workers.outages import sparingly

Say = Callable[[Frame | None], Awaitable[None]]
"""Sends a frame to the window; None only shows that the connection lives. Raises OSError once the window is gone."""

_LATEST: Final = 16
"""Messages that are remembered as shown, so that nothing shows them as being written."""

_log = Logger(__name__)


class Ended(IntEnum):
    """Why a connection ended: the code by which a WebSocket is closed."""

    GONE = 1000
    """The window went."""
    NONSENSE = 1008
    """It sends what it should not, again and again."""
    ELSEWHERE = 1012
    """This gateway ends: another one goes on."""
    LATER = 1013
    """It takes too long to take what it is sent, or the log can't be read: it comes back, and catches up."""
    UNKNOWN = 4401
    """Nobody knows who it is: its token is none, or has expired."""
    IDLE = 4408
    """Nothing was said for long."""
    FULL = 4429
    """There are too many connections, of this visitor or altogether."""


class Talk:
    """Shows a visitor what is in the log, from a place on; what has no more room than one window's share of it."""

    def __init__(self, visitor: Visitor, hosting: Hosting, limits: Limits, say: Say) -> None:
        self._visitor = visitor
        self._hosting = hosting
        self._limits = limits
        self._raw = say
        self._conversation = hosting.conversation_of(visitor.address)
        self._view = View(visitor)
        self._feed = Feed(hosting.store, self._conversation, self._view)
        self._latest: deque[str] = deque(maxlen=_LATEST)
        self._said_at = _now()

    async def run(self, place: Place | None, listening: Coroutine[Any, Any, Ended], closing: asyncio.Event) -> Ended:
        """Talk until the window goes or has to. `listening` returns when it has gone; `closing` ends all."""
        tasks: list[asyncio.Task[Any]] = [
            asyncio.create_task(listening, name="listen to a visitor"),
            asyncio.create_task(self._tell(place), name="tell a visitor what is new"),
            asyncio.create_task(closing.wait(), name="wait for the end of a gateway"),
        ]
        left = (self._visitor.until - self._hosting.clock.now()).total_seconds()
        try:
            done, _ = await asyncio.wait(tasks, timeout=max(left, 0.0), return_when=asyncio.FIRST_COMPLETED)
        finally:
            await ended(tasks)
        for task in tasks[:2]:
            if task in done:
                return task.result() if not task.cancelled() and not task.exception() else Ended.LATER
        return Ended.ELSEWHERE if done else Ended.UNKNOWN

    async def say(self, frame: Frame | None) -> None:
        """Send a frame to the window. Raises OSError, or TimeoutError if the window does not take it."""
        if frame is not None:
            self._said_at = _now()
        async with asyncio.timeout(self._limits.send):
            await self._raw(frame)

    async def _tell(self, place: Place | None) -> Ended:
        try:
            await self.say({"type": "welcome"})
            with self._hosting.heard(self._conversation) as heard:
                return await self._follow(await self._begin(place), heard)
        except TimeoutError:
            raise_if_cancelled()
            return Ended.LATER
        except OSError:
            raise_if_cancelled()
            return Ended.GONE
        except StoreError as error:
            raise_if_cancelled()
            if (more := sparingly(Action.VISITOR_NOT_TOLD, type(error).__name__)) is not None:
                _log.warning(Action.VISITOR_NOT_TOLD, conversation_id=self._conversation, **told(error), **more)
            return Ended.LATER

    async def _begin(self, place: Place | None) -> Place:
        """Return where to go on from. A window that was nowhere yet, or at a place that there is not, begins anew."""
        if place is not None and await self._feed.has(place):
            return place
        frame, place = await self._feed.opening()
        await self.say(frame)
        self._latest.extend(message["id"] for message in frame["messages"] if "id" in message)
        return place

    async def _follow(self, place: Place, heard: Heard) -> Ended:
        while True:
            heard.woken.clear()
            news = await self._feed.after(place)
            for frame in news.frames:
                await self.say(frame)
                if frame["type"] == "message" and "id" in frame["message"]:
                    self._latest.append(frame["message"]["id"])
            place = news.place
            if news.more:
                continue
            await self._show(heard)
            if _now() - self._said_at > self._limits.idle:
                return Ended.IDLE
            try:
                async with asyncio.timeout(self._limits.look):
                    await heard.woken.wait()
            except TimeoutError:
                raise_if_cancelled()
                await self.say(None)

    async def _show(self, heard: Heard) -> None:
        """Show what a reply reads that is being written; not once it is said, whatever comes late."""
        writing, heard.writing = heard.writing, None
        if writing is not None and writing.id not in self._latest and (frame := self._view.written(writing)):
            await self.say(frame)


def _now() -> float:
    return asyncio.get_running_loop().time()
