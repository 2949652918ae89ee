"""Which routes of a channel are known to work, and what waits behind the first message of one that is not yet."""

import asyncio
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field

from aiormq.channel import Channel

from agentbus.workers.bus.port import Message


@dataclass(slots=True, eq=False, kw_only=True)
class Posted:
    """A message on its way; `confirmed` ends with the broker's confirm or with why there is none."""

    exchange: str
    routing_key: str
    message: Message
    mandatory: bool
    channel: Channel | None = None
    """Where it was sent, once it was."""
    confirmed: "asyncio.Future[object]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Routes:
    """The routes of one channel at a time. `together` are the exchanges whose messages keep one order for all keys."""

    def __init__(self, together: Collection[str]) -> None:
        self._together = frozenset(together)
        self._open: set[tuple[str, str]] = set()
        self._held: dict[tuple[str, str], deque[Posted]] = {}

    def forget(self) -> None:
        """Begin again, for a new channel. What was held has been settled with the old one."""
        self._open.clear()
        self._held.clear()

    def is_new(self, posted: Posted) -> bool:
        """Whether this is the first message of its route: what follows is held until `settled`."""
        if (posted.exchange, posted.routing_key) in self._open:
            return False
        self._held[self._line(posted)] = deque()
        return True

    def holds(self, posted: Posted) -> bool:
        """Keep a message back if the first one of its route is on its way; return whether it was."""
        held = self._held.get(self._line(posted))
        if held is None:
            return False
        held.append(posted)
        return True

    def settled(self, posted: Posted) -> deque[Posted]:
        """Return what was held behind the first message of a route, in order."""
        return self._held.pop(self._line(posted), deque())

    def open(self, posted: Posted) -> None:
        """Note that a route works."""
        self._open.add((posted.exchange, posted.routing_key))

    def _line(self, posted: Posted) -> tuple[str, str]:
        return posted.exchange, "" if posted.exchange in self._together else posted.routing_key
