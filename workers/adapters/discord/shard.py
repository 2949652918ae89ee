"""One connection to Discord's gateway, as discord.py keeps it: greeting, heartbeats, resuming, what a close means.

Source: https://discord.com/developers/docs/events/gateway and discord.py's `DiscordWebSocket`, which is no public part
of it: pyproject.toml keeps to one minor release. What is dispatched does not go into discord.py, which would keep
servers, channels and members in memory: it is handed out as it comes, no faster than somebody takes it. Until it is
taken for good heartbeats don't count it as received, and what is resumed begins before it.
"""

import asyncio
import logging
from contextlib import AsyncExitStack
from typing import Any, Final

from aiohttp import ClientError, ClientSession, ClientTimeout, ClientWebSocketResponse, ClientWSTimeout
from discord import Client, ConnectionClosed, Intents, MemberCacheFlags, VoiceClient
from discord.gateway import DiscordClientWebSocketResponse, DiscordWebSocket, ReconnectWebSocket
from discord.http import HTTPClient
from yarl import URL

from agentbus.workers.adapters.discord.frames import DISPATCH, Frame, dispatched, operation_in
from agentbus.workers.adapters.port import Malformed
from agentbus.workers.concurrency import ended, in_turn, raise_if_cancelled

MOST_BYTES: Final = 16 * 1024 * 1024
"""Of one frame: what a server's channels and threads take is a tenth of it."""
AT_HAND: Final = 64
"""Frames that are read before somebody takes them."""

_OPENING: Final = 20.0
"""Seconds for all that comes before the first dispatch."""
_CLOSING: Final = 2.0
_UNANSWERED: Final = 60.0
"""Seconds of silence after which the connection is taken for dead."""
_LEAVES_IT_OPEN: Final = 4000
"""The code of a close after which the session can be resumed: 1000 and 1001 end it."""
_IDENTIFY: Final = 2


class Ended(Exception):
    """A connection is over, or did not come about."""

    def __init__(self, why: str, *, resumable: bool = True, code: int | None = None) -> None:
        super().__init__(why)
        self.resumable = resumable
        self.code = code
        """What the platform closed it with for good."""


class Connection:
    """A connection of one shard."""

    def __init__(self, token: str, *, shard: int, shards: int) -> None:
        _hush()
        self._token = token
        self._shard, self._shards = shard, shards
        self._held = AsyncExitStack()
        self._read: asyncio.Queue[Frame | Ended] = asyncio.Queue(AT_HAND)
        self._over: Ended | None = None
        self._socket: DiscordWebSocket | None = None
        self._reader: asyncio.Task[None] | None = None

    async def open(self, url: str, session: str | None, number: int) -> None:
        """Begin a session, or go on with one behind the dispatch of that number. Raises Ended."""
        try:
            async with asyncio.timeout(_OPENING):
                client = Client(
                    intents=_intents(),
                    shard_id=self._shard,
                    shard_count=self._shards,
                    max_messages=None,
                    member_cache_flags=MemberCacheFlags.none(),
                    chunk_guilds_at_startup=False,
                    heartbeat_timeout=_UNANSWERED,
                )
                client.http = http = _Sockets(asyncio.get_running_loop())
                http.token = self._token
                self._held.push_async_callback(http.end)
                await self._held.enter_async_context(client)
                await self._kind().from_client(
                    client,
                    initial=True,
                    gateway=URL(url),
                    shard_id=self._shard,
                    session=session,
                    sequence=number if session else None,
                    resume=session is not None,
                    compress=False,
                )
        except Exception as error:
            raise_if_cancelled()
            raise _ended(error) from None
        self._reader = asyncio.create_task(self._reading(), name=f"read Discord's gateway, shard {self._shard}")

    async def frames(self, within: float, most: int) -> list[Frame]:
        """Return what came, as much as is there; nothing if nothing came for `within` seconds. Raises Ended."""
        found: list[Frame] = []
        if self._over:
            raise self._over
        try:
            async with asyncio.timeout(within):
                self._put(await self._read.get(), found)
        except TimeoutError:
            return found
        while len(found) < most and not self._over and not self._read.empty():
            self._put(self._read.get_nowait(), found)
        if self._over and not found:
            raise self._over
        return found

    def taken(self, number: int) -> None:
        """Say that what was dispatched up to there need not be dispatched again."""
        if self._socket:
            self._socket.sequence = number

    async def close(self) -> None:
        """End it; the session can be gone on with. Idempotent."""
        reader, self._reader = self._reader, None
        steps = [lambda: ended([reader])] if reader else []
        await in_turn(*steps, self._hang_up, self._held.aclose)

    async def _hang_up(self) -> None:
        socket, self._socket = self._socket, None
        if socket:
            try:
                async with asyncio.timeout(_CLOSING):
                    await socket.close(_LEAVES_IT_OPEN)
            except (TimeoutError, ClientError, OSError, RuntimeError):
                raise_if_cancelled()

    def _put(self, one: Frame | Ended, found: list[Frame]) -> None:
        if isinstance(one, Ended):
            self._over = one
        else:
            found.append(one)

    async def _reading(self) -> None:
        try:
            while self._socket:
                await self._socket.poll_event()
        except Exception as error:
            raise_if_cancelled()
            await self._read.put(_ended(error))

    async def _heard(self, socket: DiscordWebSocket, raw: object) -> bool:
        """Take a frame; return whether it is for discord.py."""
        self._socket = socket
        if not isinstance(raw, str):
            raise Malformed("a packed frame, which was not asked for")
        operation, found = operation_in(raw)
        if operation != DISPATCH:
            return True
        await self._read.put(dispatched(found))
        return False

    def _kind(self) -> type[DiscordWebSocket]:
        """Return discord.py's connection, which tells this one of its frames."""
        heard = self._heard

        class Socket(DiscordWebSocket):
            async def received_message(self, msg: Any, /) -> None:
                if await heard(self, msg):
                    await super().received_message(msg)

            async def send_as_json(self, data: Any) -> None:
                if data.get("op") == _IDENTIFY:
                    data["d"]["compress"] = False  # what is small so may be large
                await super().send_as_json(data)

        return Socket


class _Sockets(HTTPClient):
    """Opens the connection, as discord.py would, and reads no frame without end."""

    _opened: ClientSession | None = None

    async def ws_connect(self, url: str, *, compress: int = 0) -> ClientWebSocketResponse:
        self._opened = ClientSession(
            ws_response_class=DiscordClientWebSocketResponse, timeout=ClientTimeout(total=None)
        )
        return await self._opened.ws_connect(
            url,
            max_msg_size=MOST_BYTES,
            timeout=ClientWSTimeout(ws_close=_CLOSING),
            autoclose=False,
            headers={"User-Agent": self.user_agent},
            compress=compress,
        )

    async def end(self) -> None:
        """Let go of the connection."""
        if self._opened:
            await self._opened.close()


def _intents() -> Intents:
    """Return what the bot wants to be told. What people write is told to those alone who may read it."""
    return Intents(
        guilds=True,
        guild_messages=True,
        guild_reactions=True,
        dm_messages=True,
        dm_reactions=True,
        message_content=True,
    )


def _ended(error: Exception) -> Ended:
    match error:
        case ReconnectWebSocket():
            return Ended("Discord ended the connection", resumable=error.resume)
        case ConnectionClosed():
            return Ended(f"Discord closed the connection with {error.code}", resumable=False, code=error.code)
        case Malformed():
            return Ended(f"Discord's gateway sent what is no frame of it: {error}")
        case TimeoutError():
            return Ended("Discord's gateway does not answer")
        case _:
            # Not what it says: the frame may be in that.
            return Ended(f"the connection to Discord's gateway failed: {type(error).__name__}")


def _hush() -> None:
    """Keep what people write, and that it can't speak, out of discord.py's log lines."""
    VoiceClient.warn_nacl = VoiceClient.warn_dave = False
    for name in ("discord.gateway", "discord.client", "discord.http"):
        logger = logging.getLogger(name)
        logger.setLevel(max(logger.level, logging.WARNING))
