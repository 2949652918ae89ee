"""Lists of sessions, and figures about them: all from the heads, never from the history."""

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field

from agentbus.contracts.clock import Clock
from agentbus.contracts.history import SessionFilter
from agentbus.contracts.ids import SessionId
from agentbus.contracts.records import SessionStatistics
from agentbus.contracts.session import SessionState
from agentbus.sessions.engine import Engine
from agentbus.sessions.model.context import SessionContext
from agentbus.sessions.model.results import Page
from agentbus.sessions.model.types import SessionStatus
from agentbus.storage.reading import iter_live, iter_sessions
from agentbus.workers.domain.access import Right, may
from agentbus.workers.domain.deadlines import goes_on


@dataclass(slots=True)
class SessionTree:
    """A session with its children, and theirs."""

    session: SessionContext
    children: "list[SessionTree]" = field(default_factory=list)


class Listing:
    """Lists of sessions, as contexts without messages, the latest activity first; and figures about them."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    async def page(self, where: SessionFilter, *, limit: int, cursor: str | None) -> Page[SessionContext]:
        page = await self._engine.store.heads.page(where, limit=limit, cursor=cursor)
        return Page(items=[SessionContext.of(state) for state in page.items], cursor=page.cursor)

    async def all(self, where: SessionFilter) -> list[SessionContext]:
        return [SessionContext.of(state) async for state in iter_sessions(self._engine.store, where)]

    async def live(self, where: SessionFilter) -> list[SessionContext]:
        live = iter_live(self._engine.store, where)
        return [SessionContext.of(state) async for state in live if goes_on(state, self._clock.now())]

    async def active(self) -> AsyncGenerator[SessionContext, None]:
        async for state in iter_sessions(self._engine.store, SessionFilter(status=SessionStatus.ACTIVE)):
            if goes_on(state, self._clock.now()):
                yield SessionContext.of(state)

    async def statistics(self, where: SessionFilter) -> SessionStatistics:
        return await self._engine.store.heads.statistics(where)

    async def count(self, where: SessionFilter) -> int:
        return (await self.statistics(where)).total

    async def children(self, session_id: str, user_id: str | None) -> list[SessionContext]:
        state = await self._engine.existing(session_id, user_id)
        return [SessionContext.of(child) async for child in self._children(state.session_id, user_id)]

    async def tree(self, session_id: str, user_id: str | None) -> SessionTree:
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
        async for child in iter_sessions(self._engine.store, SessionFilter(parent_id=parent)):
            if may(child, user_id, Right.READ):
                yield child
