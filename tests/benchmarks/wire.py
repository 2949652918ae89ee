"""AMQP on a plain socket: frames are counted and handed on, and nothing of them is read that is not asked for.

It costs a few microseconds a message and the same for everybody, so that watching does not disturb what is watched.
Heartbeats are switched off: whoever waits here does so for a bounded time.
"""

import socket
import struct
from collections.abc import Callable
from typing import Final
from urllib.parse import unquote, urlsplit

from aiormq import spec
from pamqp.base import Frame
from pamqp.common import FieldTable
from pamqp.frame import marshal

_FRAME: Final = struct.Struct(">BHI")
_TAG: Final = struct.Struct(">QB")
_METHOD: Final = 1
_BODY: Final = 3
DELIVER: Final = struct.pack(">I", spec.Basic.Deliver.index)
ACK: Final = struct.pack(">I", spec.Basic.Ack.index)
_REFUSALS: Final = {
    struct.pack(">I", method.index): what
    for method, what in (
        (spec.Connection.Close, "closes the connection"),
        (spec.Channel.Close, "closes the channel"),
        (spec.Basic.Return, "finds no queue for a message"),
        (spec.Basic.Nack, "does not take a message"),
        (spec.Basic.Cancel, "takes a consumer's queue away"),
    )
}
_SECONDS: Final = 60.0
_MOST_FRAME: Final = 131_072
_AT_ONCE: Final = 1 << 18

OnMethod = Callable[[bytes, int], None]
"""Told of a method frame: what was received, and where its payload begins."""
OnBody = Callable[[bytes], None]
"""Told of a body of one frame; of a longer one, piece by piece."""


class Wire:
    """A connection with one channel. What the broker refuses raises ConnectionError, 60 s of waiting TimeoutError."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.socket = socket.create_connection((parts.hostname, parts.port or 5672), timeout=_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = b""
        self._methods: list[bytes] = []
        self.socket.sendall(b"AMQP\x00\x00\x09\x01")
        self._wait()
        user, password = (unquote(text or "guest") for text in (parts.username, parts.password))
        no_properties: FieldTable = {}
        self.call(spec.Connection.StartOk(no_properties, "PLAIN", f"\0{user}\0{password}", "en_US"), 0)
        self.send(spec.Connection.TuneOk(2047, _MOST_FRAME, 0), 0)
        self.call(spec.Connection.Open(unquote(parts.path[1:]) or "/"), 0)
        self.call(spec.Channel.Open())

    def fileno(self) -> int:
        """Return what a selector waits for."""
        return self.socket.fileno()

    def send(self, frame: Frame, number: int = 1) -> None:
        """Write one frame."""
        self.socket.sendall(marshal(frame, number))

    def call(self, frame: Frame, number: int = 1) -> None:
        """Write one frame and wait for its answer."""
        self.send(frame, number)
        self._wait()

    def consume(self, queue: str) -> None:
        """Consume a queue. Its answer is not waited for: deliveries may come before it."""
        self.send(spec.Basic.Consume(queue=queue, consumer_tag=queue, nowait=True))

    def close(self) -> None:
        """Let go of the broker, once it has read all that was written."""
        try:
            self.call(spec.Connection.Close(200, "", 0, 0), 0)
        finally:
            self.socket.close()

    def receive(self, on_method: OnMethod, on_body: OnBody | None = None) -> None:
        """Read what is there, and tell of each method and, if asked to, each body in it."""
        data = self.socket.recv(_AT_ONCE)
        if not data:
            raise ConnectionError("the broker closed the connection")
        data = self._rest + data
        at, length = 0, len(data)
        while length - at >= _FRAME.size:
            kind, _, size = _FRAME.unpack_from(data, at)
            after = at + size + 8
            if after > length:
                break
            if kind == _METHOD:
                if refused := _REFUSALS.get(data[at + 7 : at + 11]):
                    raise ConnectionError(f"the broker {refused}: {data[at:after]!r}")
                on_method(data, at + 7)
            elif kind == _BODY and on_body is not None:
                on_body(data[at + 7 : after - 1])
            at = after
        self._rest = data[at:]

    def _wait(self) -> None:
        while not self._methods:
            self.receive(self._answered)
        self._methods.pop(0)

    def _answered(self, data: bytes, at: int) -> None:
        if (method := data[at : at + 4]) not in {DELIVER, ACK}:
            self._methods.append(method)


class Confirms:
    """Counts what the broker confirmed, one by one or all up to a number, in whatever order."""

    def __init__(self) -> None:
        self.done = 0
        """All up to this number are confirmed."""
        self._beyond: set[int] = set()

    def note(self, data: bytes, at: int) -> None:
        """Take a method, as `Wire.receive` tells of it."""
        if data[at : at + 4] != ACK:
            return
        tag, multiple = _TAG.unpack_from(data, at + 4)
        if multiple:
            self.done = max(tag, self.done)
            self._beyond = {one for one in self._beyond if one > self.done}
        else:
            self._beyond.add(tag)
        while self.done + 1 in self._beyond:
            self.done += 1
            self._beyond.remove(self.done)
