"""A message as a queue inside the process keeps it."""

from dataclasses import dataclass, field
from time import monotonic

from workers.bus.port import Message


@dataclass(slots=True, frozen=True)
class Stored:
    """A message in a queue; `place` is its place in the queue's order, whatever happens to it."""

    place: int
    exchange: str
    routing_key: str
    message: Message
    user: str | None = None
    returns: int = 0
    at: float = field(default_factory=monotonic)
    """When it was published."""
