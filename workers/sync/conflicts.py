"""Open conflicts: which there are, and how somebody resolves them."""

from collections.abc import Sequence
from uuid import uuid4

from contracts.commands import ResolveConflict
from contracts.errors import SessionNotFound
from contracts.history import Page, SessionFilter
from contracts.ids import SessionId
from contracts.session import SessionState, SessionStatus
from contracts.sync import Conflict, Resolution
from storage.port import Store
from workers.reactive.commands import Commands, Given


class Conflicts:
    """Lists the sessions that have open conflicts, and has conflicts resolved by the sessions' owners."""

    def __init__(self, store: Store, commands: Commands) -> None:
        self._store = store
        self._commands = commands

    async def sessions(
        self, identity: str | None = None, *, limit: int = 50, cursor: str | None = None
    ) -> Page[SessionState]:
        """Return sessions with open conflicts: all, or an identity's. Raises ValueError as `Store.list_sessions`."""
        where = SessionFilter(identity=identity, conflicts=True)
        return await self._store.list_sessions(where, limit=limit, cursor=cursor)

    async def resolve(
        self,
        session_ids: Sequence[SessionId],
        resolution: Resolution,
        fields: Sequence[str] = (),
        *,
        actor: str | None = None,
    ) -> list[Conflict]:
        """Resolve the open conflicts of sessions, or those about `fields` alone; return which are over now.

        What is chosen is written anew, and goes to the linked sessions. Raises SessionNotFound, SessionNotCurrent,
        AccessDenied, ReplyTimeout, BusError.
        """
        resolved: list[Conflict] = []
        for session_id in session_ids:
            before = await self._head(session_id)
            command = ResolveConflict(session_id=session_id, fields=tuple(fields), resolution=resolution, actor=actor)
            await self._commands.ask(Given(command, uuid4().hex))
            left = {conflict.field for conflict in (await self._head(session_id)).conflicts}
            resolved += [conflict for conflict in before.conflicts if conflict.field not in left]
        return resolved

    async def _head(self, session_id: SessionId) -> SessionState:
        head = await self._store.head(session_id)
        if head is None or head.status is SessionStatus.DELETED:
            raise SessionNotFound(f"there is no session {session_id}")
        return head
