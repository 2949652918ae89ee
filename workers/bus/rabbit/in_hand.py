"""The bytes that one connection has in hand: while they are too many, next to nothing more is read from it.

A prefetch counts inputs, not their bytes (RabbitMQ knows no limit of those): 64 partitions with a hundred of the
largest inputs would be 25 GB, and whoever is killed for that gets them again. So reading stops while more is in hand
than `MOST_BYTES`, and TCP tells the broker. It goes on once half of that is settled. As what is in hand may have to
wait for an outage of the store, a little is read every second all the same: aiormq gives a connection up that brings
nothing for three heartbeats, and so does a broker that was given a `send_timeout` and can send nothing.
"""

import asyncio
from typing import Final

from agentbus.contracts.telemetry import Action
from agentbus.storage.log_lines import Logger
from agentbus.workers.outages import sparingly

MOST_BYTES: Final = 64 * 1024 * 1024
"""Bytes of bodies that may be unsettled, and a read's more: 64 partitions with a hundred inputs of 10 KB each."""

A_LITTLE_EACH: Final = 1.0
"""Seconds between two reads, each of as much as the event loop reads at once (256 KiB), while too much is in hand."""

_log = Logger(__name__)


class InHand:
    """Counts what is taken and settled, and says when to read."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self._soon: asyncio.TimerHandle | None = None
        self.bytes = 0
        """Of the bodies of what was delivered and is not settled yet."""

    def reads_from(self, transport: asyncio.Transport) -> None:
        """Take the transport whose reading stops and goes on."""
        self._transport = transport

    def take(self, size: int) -> None:
        """Count what was delivered; `look` is to follow."""
        self.bytes += size

    def settle(self, size: int) -> None:
        """Count what is settled, or nobody's any more, and read on if that is enough."""
        self.bytes -= size
        if self._paused and self.bytes <= MOST_BYTES // 2:
            self._read_on()

    def look(self) -> None:
        """Stop reading if there is too much in hand. Called after each read."""
        if self.bytes > MOST_BYTES and self._transport is not None and not self._transport.is_closing():
            if not self._paused and (more := sparingly(Action.READING_PAUSED)) is not None:
                _log.warning(Action.READING_PAUSED, bytes=self.bytes, **more)
            self._paused = True
            self._transport.pause_reading()
            if self._soon is None:
                self._soon = self._loop.call_later(A_LITTLE_EACH, self._read_a_little)

    def end(self) -> None:
        """Let go of the transport: it is gone. Idempotent."""
        self._transport = None
        self._stop_waiting()

    def _read_on(self) -> None:
        self._paused = False
        self._stop_waiting()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def _read_a_little(self) -> None:
        self._soon = None
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()  # until the next read's `look`

    def _stop_waiting(self) -> None:
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
