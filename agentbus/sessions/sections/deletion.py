"""Deleting sessions, and what becomes of their children."""

from agentbus.contracts.commands import DeleteSession
from agentbus.contracts.errors import AccessDenied, LockLost, Refused, SessionNotFound
from agentbus.contracts.history import SessionFilter
from agentbus.contracts.ids import InputId
from agentbus.contracts.session import SessionState
from agentbus.sessions.engine import Engine
from agentbus.sessions.model.types import ChildPolicy, SessionStatus
from agentbus.sessions.model.validation import checking
from agentbus.sessions.sections.shared import APPLICATION, Caller, Commands
from agentbus.sessions.sections.tokens import Fences
from agentbus.storage.reading import iter_sessions
from agentbus.workers.domain.access import DENIED, Right, may
from agentbus.workers.domain.repeats import caused_by, check_same
from agentbus.workers.sync.members import latest_session


class Deletion:
    """The end of all that is kept of a session."""

    def __init__(self, engine: Engine, commands: Commands, fences: Fences) -> None:
        self._engine = engine
        self._commands = commands
        self._fences = fences

    async def delete(
        self, session_id: str, children: ChildPolicy | str = ChildPolicy.REFUSE, caller: Caller = APPLICATION
    ) -> bool:
        with checking("children can't be dealt with like that"):
            policy = ChildPolicy(children)
        user_id, fence, request_id = caller.user_id, caller.fence, caller.request_id
        state = await self._engine.kept(session_id)
        if user_id is not None and (state is None or not may(state, user_id, Right.OWN)):
            raise AccessDenied(DENIED)
        if state is None:
            return False
        if state.status is SessionStatus.DELETED:
            told = await self._deleted_by(state, request_id)
            await self._settle_late(session_id, user_id, ChildPolicy.DETACH)  # who deleted it may have died before that
            return told
        await self._fences.check(session_id, fence)
        if fence is not None:  # before anything becomes of its children; an earlier session's head knows no later one
            seen = (await latest_session(self._engine.store, state.conversation_id)).fence
            if fence < seen:
                raise LockLost(f"lock token {fence} is older than {seen}: somebody else has held the lock since")
        await self._settle_children(session_id, user_id, policy)
        try:
            # An owner never changes, so that what was checked here still holds. Session workers of earlier releases let
            # nobody delete an earlier session but AgentBus itself.
            actor = user_id if state.is_live else None
            await self._commands.carry_out(session_id, DeleteSession, Caller(actor, fence, request_id))
        except SessionNotFound:
            return False
        except AccessDenied:
            if await self._engine.state(session_id) is None:
                return False  # Deleted meanwhile: who owned it is told so, as if they had come later.
            raise
        await self._settle_late(session_id, user_id, policy)
        return True

    async def _deleted_by(self, state: SessionState, request_id: str | None) -> bool:
        """Whether a deleted session was deleted by an earlier call with `request_id`. Raises RequestReused."""
        if request_id is None:
            return False
        given = InputId(request_id)
        commit = (await self._engine.store.log.commits_of_inputs(state.conversation_id, [given])).get(given)
        if commit is None:
            return False
        check_same(DeleteSession(session_id=state.session_id), caused_by(given, commit))
        return True

    async def _settle_children(self, session_id: str, user_id: str | None, policy: ChildPolicy) -> None:
        async for child in iter_sessions(self._engine.store, SessionFilter(parent_id=session_id)):
            match policy:
                case ChildPolicy.REFUSE:
                    raise Refused(
                        f"session {session_id} has children: delete them first, or say children='detach' or 'cascade'"
                    )
                case ChildPolicy.CASCADE:
                    await self.delete(child.session_id, policy, Caller(user_id))
                case ChildPolicy.DETACH:
                    await self._commands.detach(child.session_id)

    async def _settle_late(self, session_id: str, user_id: str | None, policy: ChildPolicy) -> None:
        """Settle the children that came while their parent was deleted; what they have seen was still there.

        Whoever creates one later sees, once it is there, that its parent is not: `create_session` settles those.
        """
        async for child in iter_sessions(self._engine.store, SessionFilter(parent_id=session_id)):
            if not child.is_live:
                continue
            if policy is ChildPolicy.CASCADE and may(child, user_id, Right.OWN):
                await self.delete(child.session_id, policy, Caller(user_id))
            else:
                await self._commands.detach(child.session_id)
