"""What the sections share: commands for callers, and sessions as they are read."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agentbus.contracts.commands import AnyCommand, CommandReply, UpdateSession
from agentbus.contracts.errors import SessionNotCurrent, SessionNotFound
from agentbus.contracts.profile import ProfileChanges
from agentbus.contracts.session import SessionState
from agentbus.sessions.engine import Engine
from agentbus.sessions.model.context import SessionContext
from agentbus.sessions.model.messages import Message
from agentbus.sessions.model.validation import checked_for, checking
from agentbus.sessions.sections.tokens import Fences
from agentbus.storage.history import history_page


@dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf a call changes a session."""

    user_id: str | None = None
    """Whose access is checked; None: the application itself."""
    fence: int | None = None
    """The token of the lock that the caller holds."""
    request_id: str | None = None
    """What makes the call safe to repeat."""


APPLICATION = Caller()
"""The application itself."""


class Commands:
    """Has commands carried out, for callers whose tokens are checked."""

    def __init__(self, engine: Engine, fences: Fences) -> None:
        self._engine = engine
        self._fences = fences

    async def carry_out(
        self, session_id: str, kind: Callable[..., AnyCommand], caller: Caller = APPLICATION, **fields: Any
    ) -> CommandReply:
        """Have a command of a kind carried out on a session.

        Raises at once SchemaViolation for a field that can't be, SessionNotFound (AccessDenied for a user) for what
        can't be a session's id, and LockLost for a token that was never given out.
        """
        named = checked_for(session_id, caller.user_id)
        with checking("the session can't be changed like that"):
            command = kind(session_id=named, actor=caller.user_id, fence=caller.fence, **fields)
        return await self.send(named, command, caller.request_id)

    async def send(self, session_id: str, command: AnyCommand, request_id: str | None) -> CommandReply:
        """Have a command on a session carried out. Raises LockLost for a token that was never given out."""
        await self._fences.check(session_id, command.fence)
        return await self._engine.send(command, request_id=request_id)

    async def detach(self, session_id: str) -> None:
        """Make a session nobody's child; one that has ended stays as it was. Raises StoreError, BusError."""
        try:
            await self.carry_out(session_id, UpdateSession, profile=ProfileChanges(clear=("parent_id",)))
        except (SessionNotFound, SessionNotCurrent):
            return


class Contexts:
    """Reads sessions with their latest messages."""

    def __init__(self, engine: Engine, max_history: int) -> None:
        self._engine = engine
        self._max_history = max_history

    async def of(self, state: SessionState) -> SessionContext:
        """Return a session with its latest messages."""
        limit = state.profile.max_history or self._max_history
        page = await history_page(self._engine.store, state, limit=limit)
        return SessionContext.of(state, [Message.of(shown) for shown in page.items])
