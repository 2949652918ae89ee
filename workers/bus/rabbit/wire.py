"""The end of a connection that reads: hot frames are taken as they arrive, all others go on to aiormq, as they are.

aiormq reads a frame by three awaits, decodes all of it, hands it through two queues and makes a task a delivery. Those
frames of which there are many (deliveries, confirms) are found here by their channel, in the socket's callback, and
whoever takes them reads what it needs of them. What is cold (signing in, topology, what ends channels and connections)
is aiormq's. What is taken here may be ahead of what aiormq has still to read, never behind it.

Source: AMQP 0-9-1 specification, section 2.3.5 (frames); aiormq's `TransportFactory` is its way for transports of one's
own.
"""

import asyncio
import struct
from collections.abc import Callable
from typing import Any, Final, Protocol, cast

from aiormq.connection import TransportFactory
from aiormq.exceptions import AMQPConnectionError
from yarl import URL

from agentbus.contracts.telemetry import Action
from agentbus.storage.log_lines import Logger
from agentbus.workers.bus.rabbit.in_hand import InHand

METHOD: Final = 1
HEADER: Final = 2
BODY: Final = 3
_HEARTBEAT: Final = 8

FRAME: Final = struct.Struct(">BHI")
"""What a frame begins with: its kind, its channel, the size of its payload."""
AROUND: Final = FRAME.size + 1
"""Bytes of a frame beside its payload."""
END: Final = 0xCE
"""The byte that ends a frame."""

_KINDS: Final = {METHOD, HEADER, BODY, _HEARTBEAT}
_ENDINGS: Final = {struct.pack(">HH", 20, 40), struct.pack(">HH", 20, 41)}
"""Channel.Close and Channel.CloseOk: what comes after is another channel's, of the same number."""
_ALIVE: Final = FRAME.pack(_HEARTBEAT, 0, 0) + bytes([END])
_ALIVE_SECONDS: Final = 1.0
"""How often aiormq is told that the broker is alive while all that it sends is taken here: it counts what it reads."""
_UNLIMITED: Final = 1 << 32
_MOST_BYTES: Final = 1 << 20
"""The largest payload before a largest one is agreed upon."""

_log = Logger(__name__)


class BadFrame(Exception):
    """What a broker never sends: nothing after it can be read."""


class Taker(Protocol):
    """Takes the hot frames of one channel."""

    def take(self, kind: int, data: bytes, start: int, end: int) -> bool:
        """Take the frame whose payload lies in `data` from `start` to `end`; False leaves it to aiormq.

        Called for all frames of the channel, in their order. Raises BadFrame, struct.error, IndexError or ValueError
        for what can't be read, which ends the connection.
        """
        ...


class Wire(asyncio.StreamReaderProtocol):
    """Cuts what a socket receives into frames."""

    def __init__(self, reader: asyncio.StreamReader, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(reader, loop=loop)
        self._clock = loop.time
        self._soon = loop.call_soon
        self._transport: asyncio.Transport | None = None
        self._takers: dict[int, Taker] = {}
        self._held: list[bytes] = []
        self._size = 0
        self._needed = AROUND
        self._broken = False
        self._told_alive = loop.time()
        self._due: list[Callable[[], bytes]] = []
        self._most_bytes = _MOST_BYTES
        self.in_hand = InHand(loop)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._transport = cast("asyncio.Transport", transport)
        self.in_hand.reads_from(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.in_hand.end()
        super().connection_lost(exc)

    def agree(self, frame_max: int | None) -> None:
        """Take what was agreed upon as the largest frame: what says that it is larger is none. 0 is no limit."""
        self._most_bytes = frame_max or _UNLIMITED

    def attach(self, number: int, taker: Taker) -> None:
        """Have `taker` take the hot frames of a channel that is open, until it closes or is detached."""
        self._takers[number] = taker

    def detach(self, number: int, taker: Taker) -> None:
        """Let `taker` take no more. Idempotent; whoever has the channel's number by now keeps it."""
        if self._takers.get(number) is taker:
            del self._takers[number]

    def takes(self, number: int, taker: Taker) -> bool:
        """Whether `taker` is attached: its channel has not been closed by the broker, as far as was read."""
        return self._takers.get(number) is taker

    def send(self, frames: bytes) -> None:
        """Write frames of a channel that is open."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frames)

    def send_soon(self, frames: Callable[[], bytes]) -> None:
        """Write what `frames` returns at the end of this turn of the loop, with that of others in one write."""
        if not self._due:
            self._soon(self._send_due)
        self._due.append(frames)

    def _send_due(self) -> None:
        due, self._due = self._due, []
        if payload := b"".join([frames() for frames in due]):
            self.send(payload)

    def data_received(self, data: bytes) -> None:
        if self._broken:
            super().data_received(data)
            return
        self._held.append(data)
        self._size += len(data)
        if self._size < self._needed:
            return
        if len(self._held) > 1:
            data = b"".join(self._held)
        self._held.clear()
        try:
            rest = self._cut(data)
        except (BadFrame, struct.error, IndexError, ValueError) as error:
            self._end(error)
            return
        self._size = len(data) - rest
        if self._size:
            self._held.append(data[rest:] if rest else data)
        self.in_hand.look()

    def _cut(self, data: bytes) -> int:
        """Give each whole frame to whom it belongs; return where the first one begins that is not whole."""
        at = passed = 0
        length = len(data)
        takers = self._takers
        while True:
            if length - at < AROUND:
                self._needed = AROUND
                break
            kind, number, size = FRAME.unpack_from(data, at)
            if kind not in _KINDS or size > self._most_bytes:
                self._give_up(data, passed)
                return length
            after = at + size + AROUND
            if after > length:
                self._needed = size + AROUND
                break
            if data[after - 1] != END:
                self._give_up(data, passed)
                return length
            taker = takers.get(number)
            if taker is not None:
                if taker.take(kind, data, at + FRAME.size, after - 1):
                    if passed < at:
                        super().data_received(data[passed:at])
                    passed = after
                elif kind == METHOD and data[at + FRAME.size : at + FRAME.size + 4] in _ENDINGS:
                    self.detach(number, taker)
            at = after
        if passed < at:
            self._told_alive = self._clock()
            super().data_received(data[passed:at])
        elif at and self._clock() - self._told_alive > _ALIVE_SECONDS:
            self._told_alive = self._clock()
            super().data_received(_ALIVE)
        return at

    def _give_up(self, data: bytes, start: int) -> None:
        """Let aiormq say what is wrong with what is no frame: perhaps it is no broker that answers."""
        self._broken = True
        super().data_received(data[start:])
        if self._takers:
            self._end(BadFrame("a frame that is none"))

    def _end(self, error: Exception) -> None:
        self._broken = True
        _log.error(Action.FRAME_MALFORMED, error=str(error))
        if self._transport is not None:
            self._transport.abort()


class Wires(TransportFactory):
    """Opens connections for aiormq whose frames are cut here; one is as good as another for any number of them."""

    def __init__(self) -> None:
        self.wire: Wire | None = None
        """That of the last connection made."""

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        contexts = kwargs.pop("ssl_context_provider")
        context = await contexts.get_context() if url.scheme == "amqps" else None
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        wire = Wire(reader, loop)
        try:
            transport, _ = await loop.create_connection(
                lambda: wire, url.host or "", url.port or 0, ssl=context, **kwargs
            )
        except OSError as error:
            raise AMQPConnectionError(*error.args) from error
        self.wire = wire
        return reader, asyncio.StreamWriter(transport, wire, reader, loop)
