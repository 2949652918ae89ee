"""The heads in memory."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Sequence
from datetime import datetime
from heapq import nsmallest
from itertools import islice

from agentbus.contracts.errors import StoreError
from agentbus.contracts.history import Page, SessionFilter
from agentbus.contracts.ids import ConversationId, SessionId
from agentbus.contracts.records import SessionStatistics
from agentbus.contracts.session import SessionState
from agentbus.storage.listing import earliest_due, rank, selected
from agentbus.storage.paging import all_page, check_limit, listed_at, name_after, position_of, sessions_page
from agentbus.storage.port import Heads
from agentbus.storage.statistics import statistics_of


class MemoryHeads(Heads):
    """The section of the heads. `latest` are those of each conversation's latest session."""

    def __init__(self) -> None:
        self._heads: dict[SessionId, SessionState] = {}
        self.latest: dict[ConversationId, SessionState] = {}
        self._listed: list[tuple[int, str]] = []
        """The ranks of all heads, in order."""

    async def save(self, heads: Sequence[SessionState]) -> list[StoreError | None]:
        for head in heads:
            kept = self._heads.get(head.session_id)
            if kept is None or kept.version <= head.version:
                self._list(head, kept)
                self._heads[head.session_id] = head
                latest = self.latest.get(head.conversation_id)
                if latest is None or latest.generation <= head.generation:
                    self.latest[head.conversation_id] = head
        return [None] * len(heads)

    def _list(self, head: SessionState, kept: SessionState | None) -> None:
        if kept is not None and listed_at(kept) == listed_at(head):
            return
        if kept is not None:
            del self._listed[bisect_left(self._listed, _rank(kept))]
        insort(self._listed, _rank(head))

    async def get(self, session: SessionId) -> SessionState | None:
        return self._heads.get(session)

    async def get_many(self, sessions: Collection[SessionId]) -> dict[SessionId, SessionState]:
        return {session: self._heads[session] for session in sessions if session in self._heads}

    async def page(self, where: SessionFilter, *, limit: int = 50, cursor: str | None = None) -> Page[SessionState]:
        check_limit(limit)
        after = position_of("sessions", cursor)
        first = 0 if after is None else bisect_right(self._listed, rank(after))
        following = (self._heads[SessionId(self._listed[at][1])] for at in range(first, len(self._listed)))
        return sessions_page(list(islice(selected(following, where), limit + 1)), limit)

    async def due(self, before: datetime, *, limit: int) -> list[SessionState]:
        return earliest_due(self._heads.values(), before, check_limit(limit))

    async def scan(self, *, limit: int, cursor: str | None = None) -> Page[SessionState]:
        check_limit(limit)
        after = name_after("heads", cursor)
        names = nsmallest(limit + 1, (name for name in self._heads if name > after))
        return all_page("heads", [self._heads[name] for name in names], limit, lambda head: head.session_id)

    async def statistics(self, where: SessionFilter) -> SessionStatistics:
        return statistics_of(selected(self._heads.values(), where))


def _rank(head: SessionState) -> tuple[int, str]:
    return rank((listed_at(head), head.session_id))
