"""What the broker alone carries: `python -m tests.benchmarks.contenders.canned MESSAGES BYTES`.

The traffic that a session worker causes, by plain sockets: each message of the partition queues is consumed, an event
of so many bytes is published for it (persistent, confirmed), the message is acknowledged once that is confirmed, and a
subscriber gets the event. Frames are canned; of what arrives the frames are counted and no more. It prints the seconds
from the first delivery to the last event received, and the processor time that it took itself.
"""

import selectors
import socket
import struct
import sys
from collections.abc import Callable
from functools import partial
from time import monotonic, process_time
from typing import Final
from urllib.parse import unquote, urlsplit

from aiormq import spec
from pamqp.base import Frame
from pamqp.body import ContentBody
from pamqp.common import FieldTable
from pamqp.frame import marshal
from pamqp.header import ContentHeader

from agentbus.settings import load_settings
from tests.benchmarks.layout import EVENTS, TOPIC, TOPOLOGY

_FRAME: Final = struct.Struct(">BHI")
_TAG: Final = struct.Struct(">QB")
_METHOD: Final = 1
_DELIVER: Final = struct.pack(">I", spec.Basic.Deliver.index)
_ACK: Final = struct.pack(">I", spec.Basic.Ack.index)
_CLOSES: Final = (struct.pack(">HH", 20, 40), struct.pack(">HH", 10, 50))
_WINDOW: Final = 1000
_TOGETHER: Final = 100
_SECONDS: Final = 60.0

OnMethod = Callable[[bytes, int], None]
"""Told of a method frame: what was received, and where its payload begins."""


class Wire:
    """A connection with one channel."""

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
        self.send(spec.Connection.TuneOk(2047, 131_072, 0), 0)
        self.call(spec.Connection.Open(unquote(parts.path[1:]) or "/"), 0)
        self.call(spec.Channel.Open())

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

    def receive(self, on_method: OnMethod) -> None:
        """Read what is there, and tell of each method in it."""
        data = self.socket.recv(1 << 18)
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
                if data[at + 7 : at + 11] in _CLOSES:
                    raise ConnectionError(f"the broker closes: {data[at:after]!r}")
                on_method(data, at + 7)
            at = after
        self._rest = data[at:]

    def _wait(self) -> None:
        while not self._methods:
            self.receive(lambda data, at: self._methods.append(data[at : at + 4]))
        self._methods.pop(0)


class Traffic:
    """Counts on three connections: what is consumed, what is published, and what a subscriber gets."""

    def __init__(self, url: str, messages: int, size: int) -> None:
        self._messages = messages
        self._in, self._out, self._subscriber = Wire(url), Wire(url), Wire(url)
        properties = spec.Basic.Properties(
            content_type="application/cloudevents+json", delivery_mode=2, message_id="x" * 40
        )
        event = (
            spec.Basic.Publish(exchange=TOPOLOGY.events, routing_key=TOPIC),
            ContentHeader(properties=properties, body_size=size),
            ContentBody(b"x" * size),
        )
        self._event = b"".join(marshal(frame, 1) for frame in event)
        self._consumed = self._published = self._confirmed = self._acknowledged = self._received = 0
        self._beyond: set[int] = set()  # confirmed before those before them
        self._first = 0.0

    def run(self) -> float:
        """Carry all messages; return how many seconds that took."""
        self._out.call(spec.Confirm.Select())
        self._subscriber.call(spec.Basic.Qos(prefetch_count=_WINDOW))
        self._subscriber.consume(EVENTS)
        self._in.call(spec.Basic.Qos(prefetch_count=32))
        for partition in TOPOLOGY.all_partitions():
            self._in.consume(TOPOLOGY.partition_queue(partition))
        with selectors.DefaultSelector() as selector:
            for wire, told in (
                (self._in, self._delivered),
                (self._out, self._confirm),
                (self._subscriber, self._event_in),
            ):
                selector.register(wire.socket, selectors.EVENT_READ, partial(wire.receive, told))
            while self._received < self._messages:
                ready = selector.select(_SECONDS)
                if not ready:
                    raise TimeoutError(f"{self._received} of {self._messages} events in {_SECONDS:g} s")
                for key, _ in ready:
                    key.data()
                self._pass_on()
        return monotonic() - self._first

    def _delivered(self, data: bytes, at: int) -> None:
        if data[at : at + 4] == _DELIVER:
            self._first = self._first or monotonic()
            self._consumed += 1

    def _confirm(self, data: bytes, at: int) -> None:
        if data[at : at + 4] == _ACK:
            tag, multiple = _TAG.unpack_from(data, at + 4)
            if multiple:
                self._confirmed = max(tag, self._confirmed)
                self._beyond = {one for one in self._beyond if one > self._confirmed}
            else:
                self._beyond.add(tag)
            while self._confirmed + 1 in self._beyond:
                self._confirmed += 1
                self._beyond.remove(self._confirmed)

    def _event_in(self, data: bytes, at: int) -> None:
        if data[at : at + 4] == _DELIVER:
            self._received += 1
            if not self._received % _TOGETHER or self._received == self._messages:
                self._subscriber.send(spec.Basic.Ack(self._received, multiple=True))

    def _pass_on(self) -> None:
        if new := min(self._consumed - self._published, _WINDOW - (self._published - self._confirmed)):
            self._out.socket.sendall(self._event * new)
            self._published += new
        if self._confirmed > self._acknowledged:
            self._acknowledged = self._confirmed
            self._in.send(spec.Basic.Ack(self._acknowledged, multiple=True))


def main() -> None:
    """Carry the backlog."""
    messages, size = (int(text) for text in sys.argv[1:])
    traffic = Traffic(load_settings().bus.amqp_url, messages, size)
    before = process_time()
    seconds = traffic.run()
    sys.stdout.write(f"carried {seconds:.6f} {process_time() - before:.6f}\n")


if __name__ == "__main__":
    main()
