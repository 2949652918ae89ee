"""What is given ahead: commands whose effect was not seen yet; few, so that chat behind them does not wait long.

A partition's queue is first in, first out: whoever puts a hundred thousand commands into it has its chat wait for all
of them. So a few of each partition are under way, and of all of an instance as many as keep the owners busy; what else
is due waits where it is.
"""

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Final

from agentbus.contracts.ids import SessionId
from agentbus.contracts.session import SessionState
from agentbus.storage.port import Store

OF_ALL: Final = 512
"""Commands under way of an instance."""
OF_A_PARTITION: Final = 64
"""Commands under way in a partition: twice its part of all where there are 16, as they are not spread evenly."""
_TOGETHER: Final = OF_ALL // 2
"""Commands that there has to be room for, before some are given: few at a time cost everybody more than many."""
LOOK_AFTER: Final = 2.0
"""Seconds after which a session is looked at if no event of it was heard, as another instance may have heard it.

After as long again it is looked at the next time.
"""
FORGET_AFTER: Final = 5.0
"""Seconds after which a command is no longer counted: by then its deadline comes again."""
_LOOK_EVERY: Final = 0.25


@dataclass(slots=True)
class _Given:
    group: str
    version: int
    at: float
    look_at: float


class Ahead:
    """Counts the commands under way, by partition; a session is under way once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._given: dict[SessionId, _Given] = {}
        self._by_group: Counter[str] = Counter()
        self._full: set[str] = set()
        self._looked = monotonic()
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._given)

    @property
    def room(self) -> int:
        """How many more may be given."""
        return max(0, OF_ALL - len(self._given))

    @property
    def full(self) -> frozenset[str]:
        """The groups of the partitions to which no more may be given, until half of what they have is over."""
        return frozenset(self._full)

    def gives(self, head: SessionState, group: str) -> bool:
        """Note that a session's command is given; return False if it has to wait."""
        if head.session_id not in self._given and (not self.room or group in self._full):
            return False
        self._forget(head.session_id)
        now = monotonic()
        self._given[head.session_id] = _Given(group, head.version, now, now + LOOK_AFTER)
        self._by_group[group] += 1
        if self._by_group[group] >= OF_A_PARTITION:
            self._full.add(group)
        return True

    def seen(self, sessions: Iterable[SessionId]) -> None:
        """Note that something has happened to sessions: what was given to them is over."""
        for session in sessions:
            self._forget(session)
        self._changed.set()

    async def some_room(self, most: float) -> None:
        """Wait until there is room for many, `most` seconds at most."""
        end = monotonic() + most
        while self.room < _TOGETHER and (left := end - monotonic()) > 0:
            await self.change(left)

    async def change(self, most: float) -> None:
        """Wait until something has happened to sessions, `most` seconds at most."""
        self._changed.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(most):
                await self._changed.wait()

    async def look(self) -> None:
        """Look at the sessions of which nothing was heard for a while. Raises StoreError."""
        now = monotonic()
        if now - self._looked < _LOOK_EVERY:
            return
        self._looked = now
        silent = {session: one for session, one in self._given.items() if now >= one.look_at}
        heads = await self._heads(silent)
        for session, one in silent.items():
            head = heads.get(session)
            if head is None or head.version > one.version or now - one.at >= FORGET_AFTER:
                self._forget(session)
            one.look_at = now + (now - one.at)

    async def _heads(self, sessions: Collection[SessionId]) -> dict[SessionId, SessionState]:
        return dict(await self._store.heads.get_many(sessions)) if sessions else {}

    def _forget(self, session: SessionId) -> None:
        if (given := self._given.pop(session, None)) is None:
            return
        self._by_group[given.group] -= 1
        if self._by_group[given.group] <= OF_A_PARTITION // 2:
            self._full.discard(given.group)
        if not self._by_group[given.group]:
            del self._by_group[given.group]
