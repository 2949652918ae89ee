"""A message as a queue inside the process keeps it."""

from dataclasses import dataclass

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
