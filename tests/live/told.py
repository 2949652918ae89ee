"""What somebody was told, as a count and a digest."""

import hashlib
from dataclasses import dataclass
from typing import Any, Self


@dataclass(slots=True)
class Digest:
    """Of the ids of events: how many, and a sum over them, in which those of each session stand in any order.

    In which order they came is told by their numbers.
    """

    count: int = 0
    total: int = 0

    def add(self, event_id: str) -> None:
        """Count an event."""
        self.count += 1
        digest = hashlib.blake2b(event_id.encode(), digest_size=8).digest()
        self.total = (self.total + int.from_bytes(digest, "big")) % 2**64

    def as_told(self) -> list[int]:
        """Return it as it is handed to another process."""
        return [self.count, self.total]

    @classmethod
    def told(cls, parts: Any) -> Self:
        """Return it as another process handed it over."""
        count, total = parts
        return cls(count, total)
