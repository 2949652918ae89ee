"""The heads that this process wrote last, as long as nobody else has written since."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from agentbus.contracts.ids import SessionId
from agentbus.contracts.session import SessionState
from agentbus.storage.sql.dialects.port import Connections

_MOST: Final = 1_000
_MOST_BYTES: Final = 16 * 1024 * 1024
"""Heads, and their characters as JSON, that are known at most."""


class KnownHeads:
    """Knows heads by what the database says of others' writes: one that wrote anything makes all of them unknown."""

    def __init__(self) -> None:
        self._heads: OrderedDict[SessionId, tuple[SessionState, int]] = OrderedDict()
        self._size = 0
        self._others: int | None = None

    def get(self, session: SessionId, connections: Connections) -> SessionState | None:
        """Return a head as it is in the database now; None: that has to be read."""
        others = connections.others_writes() if session in self._heads else None
        if others is None:
            return None
        self._since(others)
        known = self._heads.get(session)
        return known[0] if known else None

    def wrote(self, heads: Sequence[SessionState], sizes: Sequence[int], connections: Connections) -> None:
        """Know heads that a transaction has just written, each after all that was written of its session before."""
        if connections.wrote_after is None:
            self.forget([head.session_id for head in heads])
            return
        self._since(connections.wrote_after)
        for head, size in zip(heads, sizes, strict=True):
            self.forget([head.session_id])
            self._heads[head.session_id] = head, size
            self._size += size
        while len(self._heads) > _MOST or self._size > _MOST_BYTES:
            _, (_, size) = self._heads.popitem(last=False)
            self._size -= size

    def forget(self, sessions: Sequence[SessionId]) -> None:
        """Know no more of sessions."""
        for session in sessions:
            _, size = self._heads.pop(session, (None, 0))
            self._size -= size

    def _since(self, others: int) -> None:
        if others != self._others:
            self._heads.clear()
            self._size = 0
            self._others = others
