"""What came of the messages that were published."""

import json
from collections import deque
from collections.abc import Iterator
from time import monotonic
from typing import Final

from tests.benchmarks.order import Histories, order_of

Key = tuple[str, int]
"""A message: its conversation and its number there."""

_READ_AT_ONCE: Final = 20


def read_event(body: bytes) -> Key | None:
    """Return which message an event announces; None if it announces none, such as the start of a session.

    It reads the events of all contenders; the relay announces the message itself.
    """
    envelope = json.loads(body)
    data = envelope["data"]
    number = data.get("message", data).get("message_id")
    return (envelope["partitionkey"], int(number)) if number else None


class Arrivals:
    """Remembers when each message's first event arrived, and in which order. Moments are of the monotonic clock.

    An event is kept as it came, with its moment, and read later: when nothing else is to be done and there are enough
    of them to be all that is missing, a few at a time.
    """

    def __init__(self) -> None:
        self._expected: set[Key] = set()
        self._unread: deque[tuple[float, bytes]] = deque()
        self._histories: dict[str, list[int]] = {}
        self._names: dict[str, str] = {}
        self.at: dict[Key, float] = {}
        self.first: float | None = None
        """When the first event of all arrived."""
        self.last = 0.0
        """When the last message that was expected was announced."""
        self.events = 0
        self.bytes = 0

    def expect(self, name: str, key: Key) -> None:
        """Wait for this message too; its conversation is one of `name`."""
        self._names[key[0]] = name
        self._expected.add(key)

    def note(self, body: bytes) -> None:
        """Take an event that arrived now."""
        now = monotonic()
        self._unread.append((now, body))
        self.events += 1
        self.bytes += len(body)
        if self.first is None:
            self.first = now

    @property
    def worth_reading(self) -> bool:
        """Whether what is unread may hold all that is missing."""
        return len(self._unread) >= max(1, len(self._expected))

    @property
    def missing(self) -> int:
        """How many messages are expected and not announced, as far as was read."""
        return len(self._expected)

    def read(self, most: int = _READ_AT_ONCE) -> None:
        """Read what has arrived, `most` events of it."""
        for _ in range(min(most, len(self._unread))):
            now, body = self._unread.popleft()
            key = read_event(body)
            if key is None:
                continue
            conversation, number = key
            self._histories.setdefault(conversation, []).append(number)
            self.at.setdefault(key, now)
            if key in self._expected:
                self._expected.remove(key)
                self.last = now

    def read_all(self) -> None:
        """Read all that has arrived."""
        self.read(len(self._unread))

    def of(self, name: str) -> Iterator[tuple[str, int, float]]:
        """Give the messages of `name` that were announced: conversation, number, and when."""
        return ((*key, at) for key, at in self.at.items() if self._names.get(key[0]) == name)

    def summary(self, name: str, ahead: int = 0) -> dict[str, float]:
        """Return what arrived of the messages of `name`; of events and bytes, what arrived of all.

        `first`, `last` and `but_ahead` are moments: of the first, the last, and the last but `ahead`.
        """
        self.read_all()
        histories: Histories = {one: found for one, found in self._histories.items() if self._names.get(one) == name}
        order = order_of(histories)
        moments = sorted(at for *_, at in self.of(name))
        return {
            "messages": order.messages,
            "repeats": order.repeats,
            "inversions": order.inversions,
            "reordered": order.reordered,
            "events": self.events,
            "bytes": self.bytes,
            "first": moments[0] if moments else 0.0,
            "last": moments[-1] if moments else 0.0,
            "but_ahead": moments[-1 - ahead] if ahead < len(moments) else 0.0,
        }
