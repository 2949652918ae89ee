"""Which routes of a channel are known to work, and what waits behind the first message of one that is not yet."""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from aiormq.channel import Channel

from agentbus.workers.bus.port import Message


class GivenUp(Exception):
    """Nobody waits for its confirm any more."""


@dataclass(slots=True, eq=False, kw_only=True)
class Posted:
    """A message on its way; it is settled by the broker's confirm, or by why there is none."""

    exchange: str
    routing_key: str
    message: Message
    mandatory: bool
    done: bool = False
    error: Exception | None = None
    """Why it was not confirmed, once it is done."""
    channel: Channel | None = None
    """Where it was sent, once it was."""
    on_settled: Callable[["Posted"], None] | None = None
    """Told when it is done, once it was sent."""
    batch: "Batch | None" = None

    def settle(self, error: Exception | None = None) -> None:
        """Say what became of it. What is said first counts."""
        if self.done:
            return
        self.done, self.error = True, error
        if self.on_settled is not None:
            self.on_settled(self)
        if self.batch is not None:
            self.batch.count()


@dataclass(slots=True, eq=False)
class Batch:
    """Messages that are waited for together."""

    posted: Sequence[Posted]
    over: "asyncio.Future[None]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """Done when all are settled."""
    left: int = 0

    def __post_init__(self) -> None:
        self.left = len(self.posted)
        for posted in self.posted:
            posted.batch = self

    def count(self) -> None:
        """Count one that was settled."""
        self.left -= 1
        if not self.left and not self.over.done():
            self.over.set_result(None)

    async def settled(self, within: float) -> bool:
        """Wait until all are settled, for `within` seconds; return whether they are."""
        if self.left:
            await asyncio.wait((self.over,), timeout=within)
        return not self.left

    def give_up(self) -> None:
        """Take back what was not sent yet; a confirm of what was sent will be ignored."""
        if self.left:
            for posted in self.posted:
                posted.settle(GivenUp())


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
        if not self._held:
            return False
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
