"""The heads of the store port: what is listed, searched and due."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from datetime import datetime

from agentbus.contracts.errors import StoreError
from agentbus.contracts.history import Page, SessionFilter, SessionSummary
from agentbus.contracts.ids import SessionId
from agentbus.contracts.records import SessionStatistics
from agentbus.contracts.session import SessionState
from agentbus.storage.summaries import summary_of


class Heads(ABC):
    """The state of each session, as one document, at or behind the end of its log."""

    @abstractmethod
    async def save(self, heads: Sequence[SessionState]) -> list[StoreError | None]:
        """Write heads. One that is older (by version) than the one kept for its session changes nothing.

        Returns for each, in order, None, or the StoreRejected of a head that the store can't hold, now or ever: the
        others are written all the same, and the log has what the head would say.
        """

    @property
    def flushes(self) -> bool:
        """Whether there is a quicker `write` than `save`, after which to `flush`; known from `start` on."""
        return False

    async def write(self, heads: Sequence[SessionState]) -> list[StoreError | None]:
        """Write heads as `save` does, for all to read at once; a crash of the server may lose them until a `flush`."""
        return await self.save(heads)

    async def flush(self, heads: Sequence[SessionState]) -> None:  # noqa: ARG002 - for stores that have `flushes`
        """Make what was written durable: on return these heads, or later ones of their sessions, survive a crash.

        Those that a crash since `write` has lost are saved again. Without `flushes` they were durable before.
        """
        if self.flushes:
            raise NotImplementedError

    @abstractmethod
    async def get(self, session: SessionId) -> SessionState | None:
        """Return a session's head as it was last written, or None if there is no such session."""

    @abstractmethod
    async def get_many(self, sessions: Collection[SessionId]) -> dict[SessionId, SessionState]:
        """Return the heads of those of `sessions` that there are; damaged ones are passed over."""

    @abstractmethod
    async def page(self, where: SessionFilter, *, limit: int = 50, cursor: str | None = None) -> Page[SessionState]:
        """Return the heads that `where` selects, latest activity first (then by session id).

        Deleted ones are left out unless `where` asks for that status. Pages stay right while others write.
        Raises ValueError for a limit outside 1..MAX_PAGE or a cursor that this store did not give out.
        """

    async def summaries(
        self, where: SessionFilter, *, limit: int = 50, cursor: str | None = None
    ) -> Page[SessionSummary]:
        """Return what a list shows of the heads that `page` gives: in its order, by its cursors; raises as it does.

        A store reads no more than that where it can. So what it does not read may be damaged, or not be decrypted.
        """
        page = await self.page(where, limit=limit, cursor=cursor)
        return Page(items=tuple(map(summary_of, page.items)), cursor=page.cursor)

    @abstractmethod
    async def due(self, before: datetime, *, limit: int) -> list[SessionState]:
        """Return up to `limit` heads whose `due_at` is at or before `before`, the earliest first (then by session id).

        Raises ValueError for a limit outside 1..MAX_PAGE.
        """

    @abstractmethod
    async def scan(self, *, limit: int, cursor: str | None = None) -> Page[SessionState]:
        """Return a page of all heads there are, deleted ones too, in an order of the store's own: for copying them.

        Raises StoreDamaged for one of the page that can't be read: its details have the `cursor` behind it, for who
        goes on without it. Raises ValueError as `page` does.
        """

    @abstractmethod
    async def statistics(self, where: SessionFilter) -> SessionStatistics:
        """Return figures about the sessions that `where` selects, added up by the server from their heads alone.

        Deleted ones never count, even if `where` asks for that status. A session without activity lasted 0 seconds.
        """
