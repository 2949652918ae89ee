"""Who is connected to this gateway, within limits: what is over is refused, nothing waits and nothing grows."""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from agentbus.workers.adapters.pace import Pace
from agentbus.workers.adapters.webchat.tokens import Visitor

_REMEMBERED: Final = 10_000
"""Visitors whose pace is remembered: that of who wrote nothing for longest is forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one gateway gives to visitors. Times are in seconds."""

    hello: float = 10.0
    """In which a window says who it is, once it has connected."""
    idle: float = 3600.0
    """After which a connection ends on which nothing was said; the window comes back when somebody looks at it."""
    look: float = 25.0
    """Between two looks at the log though nothing was heard, at which a stream shows that it lives."""
    send: float = 30.0
    """In which a window takes what it is sent. One that does not is let go, and catches up when it is back."""
    per_visitor: int = 8
    """Connections of one visitor: one for each tab that is open."""
    in_all: int = 2000
    """Connections altogether; and as many, besides, of which nobody knows yet whose they are."""
    rate: float = 2.0
    """Messages a second of one visitor, and as many at once as two seconds bring."""
    newcomers: float = 20.0
    """Tokens a second that are given to visitors of one account who have none."""


class Full(Exception):
    """There is no room for a connection."""


class Visits:
    """Counts connections, and keeps visitors to their pace."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._connections: Counter[tuple[str, str]] = Counter()
        self._all = 0
        self._strangers = 0
        self.empty = asyncio.Event()
        """Set while nobody is connected."""
        self.empty.set()
        self._paces: OrderedDict[tuple[str, str], Pace] = OrderedDict()
        self._newcomers: dict[str, Pace] = {}

    def __len__(self) -> int:
        return self._all

    @contextmanager
    def connected(self, visitor: Visitor) -> Iterator[None]:
        """Count a connection while it lasts. Raises Full."""
        who = (visitor.account, visitor.visitor)
        if self._all >= self._limits.in_all or self._connections[who] >= self._limits.per_visitor:
            raise Full
        self._connections[who] += 1
        self._all += 1
        self.empty.clear()
        try:
            yield
        finally:
            self._all -= 1
            self._connections[who] -= 1
            if not self._connections[who]:
                del self._connections[who]
            if not self._all:
                self.empty.set()

    @contextmanager
    def greeting(self) -> Iterator[None]:
        """Count a connection of which nobody knows whose it is, until that is known. Raises Full."""
        if self._strangers >= self._limits.in_all:
            raise Full
        self._strangers += 1
        try:
            yield
        finally:
            self._strangers -= 1

    def may_write(self, visitor: Visitor) -> bool:
        """Whether a visitor is within their pace; if so, what they write now counts."""
        who = (visitor.account, visitor.visitor)
        pace = self._paces.pop(who, None) or Pace(self._limits.rate)
        self._paces[who] = pace
        if len(self._paces) > _REMEMBERED:
            self._paces.popitem(last=False)
        return pace.allows()

    def may_come(self, account: str) -> bool:
        """Whether one more visitor may be given a token; `account` is one that there is."""
        return self._newcomers.setdefault(account, Pace(self._limits.newcomers)).allows()
