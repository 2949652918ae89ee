"""What the broker alone carries: `python -m tests.benchmarks.contenders.canned MESSAGES BYTES`.

The traffic that a session worker causes, by plain sockets: each message of the partition queues is consumed, an event
of so many bytes is published for it (persistent, confirmed), the message is acknowledged once that is confirmed, and a
subscriber gets the event. Frames are canned; of what arrives the frames are counted and no more. It prints the seconds
from the first delivery to the last event received, and the processor time that it took itself.
"""

import selectors
import sys
from functools import partial
from time import monotonic, process_time
from typing import Final

from aiormq import spec
from pamqp.body import ContentBody
from pamqp.frame import marshal
from pamqp.header import ContentHeader

from agentbus.settings import load_settings
from tests.benchmarks.layout import EVENTS, TOPIC, TOPOLOGY
from tests.benchmarks.wire import DELIVER, Confirms, Wire

_WINDOW: Final = 1000
_TOGETHER: Final = 100
_SECONDS: Final = 60.0


class Traffic:
    """Counts on three connections: what is consumed, what is published, and what a subscriber gets."""

    def __init__(self, url: str, prefetch: int, messages: int, size: int) -> None:
        self._prefetch = prefetch
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
        self._consumed = self._published = self._acknowledged = self._received = 0
        self._confirms = Confirms()
        self._first = 0.0

    def run(self) -> float:
        """Carry all messages; return how many seconds that took."""
        self._out.call(spec.Confirm.Select())
        self._subscriber.call(spec.Basic.Qos(prefetch_count=_WINDOW))
        self._subscriber.consume(EVENTS)
        self._in.call(spec.Basic.Qos(prefetch_count=self._prefetch))
        for partition in TOPOLOGY.all_partitions():
            self._in.consume(TOPOLOGY.partition_queue(partition))
        with selectors.DefaultSelector() as selector:
            for wire, told in (
                (self._in, self._delivered),
                (self._out, self._confirms.note),
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
        if data[at : at + 4] == DELIVER:
            self._first = self._first or monotonic()
            self._consumed += 1

    def _event_in(self, data: bytes, at: int) -> None:
        if data[at : at + 4] == DELIVER:
            self._received += 1
            if not self._received % _TOGETHER or self._received == self._messages:
                self._subscriber.send(spec.Basic.Ack(self._received, multiple=True))

    def _pass_on(self) -> None:
        if new := min(self._consumed - self._published, _WINDOW - (self._published - self._confirms.done)):
            self._out.socket.sendall(self._event * new)
            self._published += new
        if self._confirms.done > self._acknowledged:
            self._acknowledged = self._confirms.done
            self._in.send(spec.Basic.Ack(self._acknowledged, multiple=True))


def main() -> None:
    """Carry the backlog."""
    messages, size = (int(text) for text in sys.argv[1:])
    settings = load_settings()
    traffic = Traffic(settings.bus.amqp_url, settings.session.prefetch, messages, size)
    before = process_time()
    seconds = traffic.run()
    sys.stdout.write(f"carried {seconds:.6f} {process_time() - before:.6f}\n")


if __name__ == "__main__":
    main()
