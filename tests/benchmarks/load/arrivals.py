"""What came of the messages that were published."""

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic

from tests.benchmarks.order import order_of

Key = tuple[str, int]
"""A message: its conversation and its number there."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What an event says."""

    key: Key | None
    """The message announced; None for an event that announces none, such as the start of a session."""
    time: str | None
    """When it was made, by the clock of its worker."""


def read_event(body: bytes) -> Seen:
    """Read an event of any contender; the relay announces the message itself."""
    envelope = json.loads(body)
    data = envelope["data"]
    message = data.get("message", data)
    number = message.get("message_id")
    return Seen((envelope["partitionkey"], int(number)) if number else None, envelope.get("time"))


class Arrivals:
    """Remembers when each message's first event arrived, and in which order. Moments are of the monotonic clock."""

    def __init__(self) -> None:
        self._expected: set[Key] = set()
        self.sent: list[Key] = []
        self._histories: dict[str, list[int]] = {}
        self._lead = 0.0
        self._change = asyncio.Event()
        self.at: dict[Key, float] = {}
        self.events = 0
        self.bytes = 0
        self.first: float | None = None
        self.last: float | None = None

    def expect(self, key: Key) -> None:
        """Wait for this message too."""
        self._expected.add(key)
        self.sent.append(key)

    def note(self, body: bytes) -> None:
        """Take an event that arrived now."""
        now = monotonic()
        seen = read_event(body)
        self.events += 1
        self.bytes += len(body)
        if self.first is None:
            self.first = now
            self._lead = _age(seen.time)
        if seen.key is None:
            return
        conversation, number = seen.key
        self._histories.setdefault(conversation, []).append(number)
        self.at.setdefault(seen.key, now)
        self.last = now
        self._expected.discard(seen.key)
        self._change.set()

    async def until_first(self) -> float:
        """Return the moment of the first event."""
        while self.first is None:
            await self._next()
        return self.first

    async def until_all(self) -> float:
        """Return the moment when the last message expected was announced."""
        while self._expected:
            await self._next()
        return self.last or 0.0

    @property
    def missing(self) -> int:
        """How many messages are expected and not announced yet."""
        return len(self._expected)

    def summary(self) -> dict[str, float]:
        """Return what arrived so far. `begun` is when the first event was made: work had begun by then."""
        order = order_of(self._histories)
        return {
            "messages": order.messages,
            "repeats": order.repeats,
            "inversions": order.inversions,
            "reordered": order.reordered,
            "events": self.events,
            "bytes": self.bytes,
            "begun": (self.first or 0.0) - self._lead,
            "first": self.first or 0.0,
            "last": self.last or 0.0,
        }

    async def _next(self) -> None:
        self._change.clear()
        await self._change.wait()


def _age(time: str | None) -> float:
    """Return how many seconds ago an event was made."""
    return 0.0 if time is None else max(0.0, (datetime.now(UTC) - datetime.fromisoformat(time)).total_seconds())
