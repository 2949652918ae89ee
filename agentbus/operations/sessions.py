"""Sessions as an operator looks at them: all there are, whoever owns them."""

from typing import Final

from agentbus.client import AgentBus
from agentbus.contracts.address import Scope
from agentbus.contracts.commands import UnblockSession
from agentbus.contracts.errors import SessionNotFound
from agentbus.contracts.history import HistoryMessage, Page, SessionFilter, SessionSummary
from agentbus.contracts.ids import SessionId
from agentbus.contracts.operators import Operator
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.operations.paging import page_after
from agentbus.storage.history import history_page
from agentbus.storage.port import Store
from agentbus.workers.bus.port import Bus

_ALL: Final = SessionFilter()


async def list_sessions(
    store: Store, where: SessionFilter = _ALL, *, limit: int = 50, cursor: str | None = None
) -> Page[SessionSummary]:
    """Return a page of sessions as a list shows them, the latest activity first. Raises InvalidCursor, StoreError."""
    with page_after(cursor):
        return await store.heads.summaries(where, limit=limit, cursor=cursor)


async def get_session(store: Store, session: SessionId) -> SessionState:
    """Return a session. Raises SessionNotFound, also for a deleted one, StoreError."""
    found = await store.heads.get(session)
    if found is None or found.status is SessionStatus.DELETED:
        raise SessionNotFound(f"no session {session} in this store; see: agentbus sessions list")
    return found


async def session_history(
    store: Store, session: SessionId, *, limit: int = 50, cursor: str | None = None
) -> Page[HistoryMessage]:
    """Return a page of a session's messages, the latest page first; a page reads from old to new.

    Raises SessionNotFound, InvalidCursor, StoreError.
    """
    found = await get_session(store, session)
    with page_after(cursor):
        return await history_page(store, found, limit=limit, cursor=cursor)


async def unblock_session(bus: Bus, session: SessionId, *, scope: Scope, by: Operator | None = None) -> None:
    """Let a blocked session go on without the parked input that it waits for.

    Raises what its owner refuses (SessionNotFound, SessionNotCurrent), ReplyTimeout, BusError.
    """
    await AgentBus(bus, scope=scope, by=by).send(UnblockSession(session_id=session))
