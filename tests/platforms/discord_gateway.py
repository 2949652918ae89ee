"""Discord's gateway: a WebSocket that says what happens, and the parts of the HTTP API that go with it.

Sources: https://discord.com/developers/docs/events/gateway (HELLO, IDENTIFY, RESUME, heartbeats, INVALID_SESSION,
RECONNECT, close codes, session start limits), .../events/gateway-events (READY, GUILD_CREATE, messages) and
.../resources/message#get-channel-messages (`after`: the next ones, the latest first).
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from tests.platforms.model import TOKEN

BOT: Final = "1000000000000000001"
SERVER: Final = "9"
FIRST: Final = 1_443_600_000_000_000_000
"""The id of the first message: made on 27 November 2025."""

_BEAT: Final = 45_000


def user(number: int = 7, **parts: Any) -> dict[str, Any]:
    return {"id": str(number), "username": f"user{number}", "global_name": None, **parts}


def message(number: int, text: str = "hello", channel: str = "8", **parts: Any) -> dict[str, Any]:
    """Return a message of somebody's in a channel of a server; the first one has the number 0."""
    place = {"guild_id": SERVER} if parts.pop("server", True) else {}
    return {
        "id": str(FIRST + (number << 22)),
        "channel_id": channel,
        "type": 0,
        "content": text,
        "author": user(),
        "edited_timestamp": None,
        "attachments": [],
        "mentions": [],
        **place,
        **parts,
    }


@dataclass
class Session:
    """A session: what it was dispatched, and who listens."""

    id: str
    frames: list[dict[str, Any]] = field(default_factory=list)
    socket: ServerConnection | None = None


@dataclass
class FakeDiscordGateway:
    """Discord's side of a bot's messages."""

    name: str = "discord"
    url: str = ""
    sessions: dict[str, Session] = field(default_factory=dict)
    history: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    identified: list[dict[str, Any]] = field(default_factory=list)
    resumed: list[dict[str, Any]] = field(default_factory=list)
    beats: list[int | None] = field(default_factory=list)
    answered: list[dict[str, Any]] = field(default_factory=list)
    """What interactions were answered."""
    opened: int = 0
    """Connections so far."""
    most: int = 0
    """Most that listened at once."""
    left: int = 1000
    """Sessions that may be begun today."""
    beat: Any = _BEAT
    """Milliseconds between heartbeats."""
    instead: list[Any] = field(default_factory=list)
    """What is sent first in place of HELLO to each connection: raw frames; or a number, to close with it."""
    room: int | None = None
    """How many requests for history it takes before it is too much for a moment; None: any number."""
    forgetful: bool = False
    """Whether it resumes no session."""
    requests: list[httpx.Request] = field(default_factory=list)
    began: asyncio.Event = field(default_factory=asyncio.Event)
    """Whether somebody listens to a session."""

    # What happens on Discord

    def say(self, *messages: dict[str, Any]) -> None:
        """Somebody writes messages: they are in history, and dispatched to whoever is there."""
        for one in messages:
            self.history.setdefault(one["channel_id"], []).append(one)
            self.dispatch("MESSAGE_CREATE", one)

    def dispatch(self, event: str, data: Any) -> None:
        """Let something be dispatched to each session, now or when it is resumed."""
        for session in self.sessions.values():
            self._dispatch(session, event, data)

    def raw(self, frame: str | bytes) -> None:
        """Send something to whoever is there."""
        for session in self.sessions.values():
            if session.socket:
                _send(session.socket, frame)

    def cut(self) -> None:
        """Let all connections die, without a word."""
        for session in self.sessions.values():
            if session.socket:
                session.socket.transport.abort()

    def forget(self) -> None:
        """End all sessions, as a minute without anybody does."""
        self.cut()
        self.sessions.clear()
        self.began.clear()

    def _dispatch(self, session: Session, event: str, data: Any) -> None:
        frame = {"op": 0, "t": event, "s": len(session.frames) + 1, "d": data}
        session.frames.append(frame)
        if session.socket:
            _send(session.socket, frame)

    # Connections

    async def serve(self, socket: ServerConnection) -> None:
        """Greet somebody, and listen to them."""
        self.opened += 1
        session: Session | None = None
        try:
            if self.instead:
                first = self.instead.pop(0)
                if isinstance(first, int):
                    await socket.close(first)
                    return
                await socket.send(first)
            else:
                await socket.send(json.dumps({"op": 10, "d": {"heartbeat_interval": self.beat}}))
            async for raw in socket:
                session = await self._heard(socket, json.loads(raw), session)
        except ConnectionClosed:
            pass
        finally:
            if session and session.socket is socket:
                session.socket = None
                self.began.clear()

    async def _heard(self, socket: ServerConnection, frame: dict[str, Any], session: Session | None) -> Session | None:
        match frame["op"]:
            case 1:
                self.beats.append(frame["d"])
                await socket.send(json.dumps({"op": 11}))
            case 2:
                self.identified.append(frame["d"])
                return await self._identify(socket, frame["d"])
            case 6:
                self.resumed.append(frame["d"])
                return await self._resume(socket, frame["d"])
        return session

    async def _identify(self, socket: ServerConnection, asked: dict[str, Any]) -> Session | None:
        if asked["token"] != TOKEN:
            await socket.close(4004)
            return None
        session = Session(f"s{len(self.identified)}", socket=socket)
        self.sessions[session.id] = session
        ready = {
            "session_id": session.id,
            "resume_gateway_url": self.url,
            "user": user(int(BOT), bot=True),
            "guilds": [{"id": SERVER, "unavailable": True}],
        }
        self._dispatch(session, "READY", ready)
        self._dispatch(session, "GUILD_CREATE", self.server())
        self._listened_to()
        return session

    async def _resume(self, socket: ServerConnection, asked: dict[str, Any]) -> Session | None:
        session = self.sessions.get(asked["session_id"])
        if session is None or self.forgetful:
            await socket.send(json.dumps({"op": 9, "d": False}))
            return None
        if session.socket:
            session.socket.transport.abort()
        session.socket = socket
        for frame in session.frames[asked["seq"] :]:
            _send(socket, frame)
        self._dispatch(session, "RESUMED", {})
        self._listened_to()
        return session

    def _listened_to(self) -> None:
        sockets = [one.socket for one in self.sessions.values() if one.socket]
        self.most = max(self.most, sum(one.state is State.OPEN for one in sockets))
        self.began.set()

    def server(self) -> dict[str, Any]:
        """Return the server that the bot is on, with its channels as they are."""
        channels = [
            {"id": channel, "type": 0, "last_message_id": said[-1]["id"]}
            for channel, said in self.history.items()
            if "guild_id" in said[-1]
        ]
        joined = "2025-01-01T00:00:00+00:00"
        return {"id": SERVER, "joined_at": joined, "channels": channels, "threads": [], "members": [{"x": 1}] * 9}

    # The HTTP API

    async def handle(self, request: httpx.Request) -> httpx.Response:
        """Answer a request."""
        self.requests.append(request)
        path = request.url.path.removeprefix("/api")
        if path.endswith("/callback"):
            self.answered.append(json.loads(request.content))
            return httpx.Response(204)
        if request.headers["authorization"] != f"Bot {TOKEN}":
            return httpx.Response(401, json={"message": "401: Unauthorized"})
        if path == "/gateway/bot":
            starts = {"total": 1000, "remaining": self.left, "reset_after": 14_400_000, "max_concurrency": 1}
            return httpx.Response(200, json={"url": self.url, "shards": 1, "session_start_limit": starts})
        channel = path.removeprefix("/channels/").removesuffix("/messages")
        if self.room is not None:
            asked = sum(one.url.path.endswith("/messages") for one in self.requests)
            if asked % (self.room + 1) == 0:
                return httpx.Response(429, json={"message": "too much", "retry_after": 0.3, "global": False})
        if channel not in self.history:
            return httpx.Response(404, json={"message": "Unknown Channel", "code": 10003})
        after, limit = int(request.url.params["after"]), int(request.url.params["limit"])
        later = [one for one in self.history[channel] if int(one["id"]) > after][:limit]
        return httpx.Response(200, json=[_as_history_has_it(one) for one in reversed(later)])


def _as_history_has_it(one: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in one.items() if name not in {"guild_id", "member"}}


def _send(socket: ServerConnection, frame: Any) -> None:
    """Send a frame without waiting: in the order of the calls."""
    with suppress(Exception):
        raw = frame if isinstance(frame, str | bytes) else json.dumps(frame)
        socket.protocol.send_text(raw.encode()) if isinstance(raw, str) else socket.protocol.send_binary(raw)
        socket.send_data()


def texts(of: Iterable[Any]) -> list[str]:
    """Return what messages say."""
    return [one.content.text for one in of]


@asynccontextmanager
async def served() -> AsyncIterator[FakeDiscordGateway]:
    """Serve one."""
    fake = FakeDiscordGateway()
    async with serve(fake.serve, "127.0.0.1", 0, ping_interval=None, close_timeout=0.1, compression=None) as server:
        host, port = next(iter(server.sockets)).getsockname()[:2]
        fake.url = f"ws://{host}:{port}"
        yield fake
        fake.cut()
