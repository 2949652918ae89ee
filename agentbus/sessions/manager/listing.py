"""Lists of sessions, and figures about them: all from the heads, never from the history."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

from agentbus.sessions.manager.base import ManagerBase, sessions_of
from agentbus.sessions.model.context import SessionContext
from agentbus.sessions.model.page import Page
from agentbus.sessions.model.types import SessionStatus
from contracts.history import SessionFilter
from contracts.ids import SessionId
from contracts.records import SessionStatistics
from contracts.session import SessionState
from storage.reading import iter_live, iter_sessions
from workers.domain.access import Right, may
from workers.domain.deadlines import goes_on


@dataclass(slots=True)
class SessionTree:
    """A session with its children, and theirs."""

    session: SessionContext
    children: "list[SessionTree]" = field(default_factory=list)


class Listing(ManagerBase):
    """The section of lists. They give contexts without messages, the latest activity first."""

    async def list_user_sessions(
        self,
        user_id: str,
        status: SessionStatus | str | None = None,
        tags: Iterable[str] = (),
        limit: int = 10,
        cursor: str | None = None,
        *,
        agent_id: str | None = None,
    ) -> Page[SessionContext]:
        """Return a page of the sessions that a user owns, with all of `tags`; `cursor` is that of the page before.

        A session that becomes active between two pages moves to the front, on the first page: `get_sessions_by_user`
        overlooks none.

        Raises SchemaViolation for a status there is not; ValueError for a limit outside 1..1000 or a cursor that was
        not given out.
        """
        where = sessions_of("owner", owner=user_id, agent_id=agent_id, status=status, tags=tuple(tags))
        page = await self._store.heads.page(where, limit=limit, cursor=cursor)
        return Page(items=[SessionContext.of(state) for state in page.items], cursor=page.cursor)

    async def get_user_sessions(self, user_id: str) -> list[SessionContext]:
        """Return all live sessions of a user."""
        return [context async for context in self._live(sessions_of("owner", owner=user_id))]

    async def get_sessions_by_user(self, user_id: str, agent_id: str | None = None) -> list[SessionContext]:
        """Return all sessions of a user (with an agent), those that ended included."""
        where = sessions_of("owner", owner=user_id, agent_id=agent_id)
        return [SessionContext.of(state) async for state in iter_sessions(self._store, where)]

    async def find_sessions(self, where: SessionFilter) -> list[SessionContext]:
        """Return all sessions that match a filter."""
        return [SessionContext.of(state) async for state in iter_sessions(self._store, where)]

    async def get_all_active_sessions(self) -> AsyncIterator[SessionContext]:
        """Yield every session that is active, and whose time is not over."""
        async for state in iter_sessions(self._store, SessionFilter(status=SessionStatus.ACTIVE)):
            if goes_on(state, self._clock.now()):
                yield SessionContext.of(state)

    async def get_active_session_count(self, user_id: str | None = None) -> int:
        """Return how many sessions (of a user) are active: also if their time is over, until somebody comes by."""
        figures = await self._store.heads.statistics(sessions_of(owner=user_id, status=SessionStatus.ACTIVE))
        return figures.total

    async def get_statistics(self, user_id: str | None = None, agent_id: str | None = None) -> SessionStatistics:
        """Return figures about all sessions, or those of a user or agent: total, by status, messages, mean duration."""
        return await self._store.heads.statistics(sessions_of(owner=user_id, agent_id=agent_id))

    async def list_children(self, session_id: str, *, user_id: str | None = None) -> list[SessionContext]:
        """Return the sessions whose parent this one is, with `user_id` those that they may see.

        Raises SessionNotFound, or AccessDenied with `user_id`.
        """
        state = await self._engine.existing(session_id, user_id)
        return [SessionContext.of(child) async for child in self._children(state.session_id, user_id)]

    async def get_session_tree(self, session_id: str, *, user_id: str | None = None) -> SessionTree:
        """Return a session with its children, and theirs. Raises as `list_children` does."""
        state = await self._engine.existing(session_id, user_id)
        root = SessionTree(SessionContext.of(state))
        level = [root]
        while level:
            for node in level:
                async for child in self._children(node.session.session_id, user_id):
                    node.children.append(SessionTree(SessionContext.of(child)))
            level = [child for node in level for child in node.children]
        return root

    async def _children(self, parent: SessionId, user_id: str | None) -> AsyncIterator[SessionState]:
        async for child in iter_sessions(self._store, SessionFilter(parent_id=parent)):
            if may(child, user_id, Right.READ):
                yield child

    async def _live(self, where: SessionFilter) -> AsyncIterator[SessionContext]:
        async for state in iter_live(self._store, where):
            if goes_on(state, self._clock.now()):
                yield SessionContext.of(state)
