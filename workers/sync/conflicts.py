"""Open conflicts: which there are, and how somebody resolves them."""

from collections.abc import Sequence
from uuid import uuid4

from agentbus.contracts.commands import ResolveConflict
from agentbus.contracts.envelope import Input
from agentbus.contracts.errors import AccessDenied, SessionNotFound
from agentbus.contracts.history import Page, SessionFilter
from agentbus.contracts.ids import InputId, SessionId
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.contracts.sync import Conflict, Resolution
from agentbus.storage.port import Store
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.domain.access import DENIED, Right, may


class Conflicts:
    """Lists the sessions that have open conflicts, and has conflicts resolved by the sessions' owners."""

    def __init__(self, store: Store, commands: Inputs) -> None:
        self._store = store
        self._commands = commands

    async def sessions(
        self, identity: str | None = None, *, owner: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> Page[SessionState]:
        """Return live sessions with open conflicts: all, an identity's, an owner's.

        One that ended has nothing to choose any more. A page may be short and still have a cursor. Raises ValueError as
        the store does.
        """
        where = SessionFilter(identity=identity, owner=owner, conflicts=True)
        page = await self._store.heads.page(where, limit=limit, cursor=cursor)
        return page.model_copy(update={"items": tuple(one for one in page.items if one.is_live)})

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
        heads = {session_id: await self._head(session_id, actor) for session_id in session_ids}
        for session_id, before in heads.items():
            command = ResolveConflict(session_id=session_id, fields=tuple(fields), resolution=resolution, actor=actor)
            await self._commands.ask(Input(InputId(uuid4().hex), command))
            left = {conflict.field for conflict in (await self._head(session_id, actor)).conflicts}
            resolved += [conflict for conflict in before.conflicts if conflict.field not in left]
        return resolved

    async def _head(self, session_id: SessionId, actor: str | None) -> SessionState:
        head = await self._store.heads.get(session_id)
        there = head is not None and head.status is not SessionStatus.DELETED
        if actor is not None and not (head and there and may(head, actor, Right.OWN)):
            raise AccessDenied(DENIED)
        if head is None or not there:
            raise SessionNotFound(f"there is no session {session_id}")
        return head
