"""The connections of visitors to one gateway: by WebSocket, which goes both ways, or by server-sent events.

Whatever a window sends, it gets an answer or its connection ends: nothing that it can do is an error of the gateway.
What it sends is taken one after the other, so that who does not wait for an answer fills their own connection.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from agentbus.workers.adapters.parsing import loaded_object
from agentbus.workers.adapters.port import LASTING, Hosting, Malformed, Request
from agentbus.workers.adapters.webchat.feed import Place
from agentbus.workers.adapters.webchat.inbound import AUTHORIZATION, BEARER, MOST_BODY
from agentbus.workers.adapters.webchat.shown import Frame
from agentbus.workers.adapters.webchat.talking import Ended, Talk
from agentbus.workers.adapters.webchat.tokens import Visitor
from agentbus.workers.adapters.webchat.visits import Full, Limits, Visits
from agentbus.workers.concurrency import passing_over, raise_if_cancelled

LATER: Final = frozenset({429, 503})
"""Statuses of what may be sent again."""

_GOING: Final = 5.0
"""Seconds that connections have to end when the gateway does."""
_FAREWELL: Final = 2.0
_BACK_IN: Final = 2000
"""Milliseconds until a window that reads a stream comes back, should it end."""
_MOST_REFUSED: Final = 50
"""In a row: who is refused so often does not mean to be understood."""
_LONGEST_ID: Final = 64

Who = Callable[[str, str], Visitor | None]
"""Whose token it is, for the account of a name; None if it is nobody's."""


class _Gone(Exception):
    """The window has closed its connection."""


class Connections:
    """The connections to this gateway; `visits` counts them."""

    def __init__(self, hosting: Hosting, limits: Limits, visits: Visits, who: Who) -> None:
        self._hosting = hosting
        self._limits = limits
        self._visits = visits
        self._who = who
        self._closing = asyncio.Event()

    @property
    def closing(self) -> bool:
        """Whether no more connections are taken."""
        return self._closing.is_set()

    def open(self) -> None:
        """Take connections."""
        self._closing.clear()

    async def drain(self) -> None:
        """Take no more, and end those that there are."""
        self._closing.set()
        with passing_over(TimeoutError):
            async with asyncio.timeout(_GOING):
                await self._visits.empty.wait()

    # Server-sent events

    def stream(self, visitor: Visitor, place: Place | None, headers: Mapping[str, str]) -> ASGIApp:
        """Return what answers a request with all that is new, for as long as the window listens.

        Each event's id is its place: browsers hand it back by themselves, as `Last-Event-ID`.
        """

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                with self._visits.connected(visitor):
                    scope.get(LASTING, _nothing)()
                    await send(_started(headers))
                    talk = Talk(visitor, self._hosting, self._limits, partial(_send_event, send))
                    ended = await talk.run(place, _until_gone(receive), self._closing)
                if ended is not Ended.GONE:
                    await _promptly(send({"type": "http.response.body", "body": b"", "more_body": False}))
            except Full:
                await Response("too_many", 429, {**headers, "Retry-After": "5"})(scope, receive, send)

        return answer

    # WebSockets

    async def socket(self, socket: WebSocket, account: str) -> None:
        """Talk with a window, which first says who it is."""
        try:
            await socket.accept()
        except (WebSocketDisconnect, RuntimeError):
            return
        ended = await self._greeted(socket, account)
        if ended is not Ended.GONE:
            await _promptly(socket.close(ended))

    async def _greeted(self, socket: WebSocket, account: str) -> Ended:
        try:
            with self._visits.greeting():
                async with asyncio.timeout(self._limits.hello):
                    _, hello = await _frame_of(socket)
            token = _text(hello, "token")
            visitor = self._who(account, token)
            if visitor is None:
                return Ended.UNKNOWN
            with self._visits.connected(visitor):
                return await self._talked(socket, visitor, token, Place.read(_text(hello, "place")))
        except TimeoutError:
            raise_if_cancelled()
            return Ended.IDLE
        except _Gone:
            return Ended.GONE
        except Malformed:
            return Ended.NONSENSE
        except Full:
            return Ended.FULL

    async def _talked(self, socket: WebSocket, visitor: Visitor, token: str, place: Place | None) -> Ended:
        async def say(frame: Frame | None) -> None:
            if frame is None:
                return  # the server itself asks whether the window is there
            try:
                await socket.send_text(_as_json(frame))
            except (WebSocketDisconnect, RuntimeError):
                raise ConnectionError from None

        talk = Talk(visitor, self._hosting, self._limits, say)
        return await talk.run(place, self._listen(socket, talk, visitor, token), self._closing)

    async def _listen(self, socket: WebSocket, talk: Talk, visitor: Visitor, token: str) -> Ended:
        refused = 0
        while refused < _MOST_REFUSED:
            try:
                raw, frame = await _frame_of(socket)
            except _Gone:
                return Ended.GONE
            except Malformed:
                raw, frame = b"", {}
            answer = await self._answered(visitor, token, raw, frame)
            if isinstance(answer, Ended):
                return answer
            refused = 0 if answer["type"] == "taken" else refused + 1
            try:
                await talk.say(answer)
            except OSError:  # it does not take the answer in time, or is gone
                raise_if_cancelled()
                return Ended.GONE
        return Ended.NONSENSE

    async def _answered(self, visitor: Visitor, token: str, raw: bytes, frame: Mapping[str, Any]) -> Frame | Ended:
        """Return what a window is told about what it sent."""
        own = _text(frame, "id")[:_LONGEST_ID]
        if not self._visits.may_write(visitor):
            return {"type": "refused", "id": own, "reason": "too_many", "again": True}
        if frame.get("type") != "message":
            return {"type": "refused", "id": own, "reason": "malformed", "again": False}
        headers = {AUTHORIZATION: f"{BEARER}{token}"}
        request = Request(body=raw, headers=headers, received_at=self._hosting.clock.now())
        answer = await self._hosting.take(visitor.account, request)
        if 200 <= answer.status < 300:
            return {"type": "taken", "id": own}
        if answer.status == 401:
            return Ended.UNKNOWN
        reason = answer.body.decode(errors="replace")
        return {"type": "refused", "id": own, "reason": reason, "again": answer.status in LATER}


async def _frame_of(socket: WebSocket) -> tuple[bytes, dict[str, Any]]:
    """Return what a window sends next, as it came and as JSON. Raises _Gone, or Malformed for what is no object."""
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise _Gone
    raw = (message.get("text") or "").encode(errors="replace")
    if len(raw) > MOST_BODY:
        raise Malformed(f"{len(raw)} bytes, in place of {MOST_BODY} at most")
    return raw, loaded_object(raw)


def _text(frame: Mapping[str, Any], name: str) -> str:
    """Return a text in a frame; an empty one in the place of everything else."""
    found = frame.get(name)
    return found if isinstance(found, str) else ""


def _as_json(frame: Frame) -> str:
    return json.dumps(frame, ensure_ascii=False, separators=(",", ":"))


async def _promptly(farewell: Awaitable[None]) -> None:
    """Say that a connection ends; who does not take even that is let go."""
    with passing_over(OSError, WebSocketDisconnect, RuntimeError):
        async with asyncio.timeout(_FAREWELL):
            await farewell


async def _until_gone(receive: Receive) -> Ended:
    while (await receive())["type"] != "http.disconnect":
        pass
    return Ended.GONE


def _started(headers: Mapping[str, str]) -> Message:
    told = {"content-type": "text/event-stream", "cache-control": "no-store", "x-accel-buffering": "no", **headers}
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in told.items()]
    return {"type": "http.response.start", "status": 200, "headers": raw}


async def _send_event(send: Send, frame: Frame | None) -> None:
    await send({"type": "http.response.body", "body": _as_event(frame), "more_body": True})


def _as_event(frame: Frame | None) -> bytes:
    if frame is None:
        return b":\n\n"
    place = f"id: {frame['place']}\n" if "place" in frame else ""
    return f"retry: {_BACK_IN}\n{place}data: {_as_json(frame)}\n\n".encode()


def _nothing() -> None:
    """Let the server do as it does."""
