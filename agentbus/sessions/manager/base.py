"""What the sections of the session manager share."""

import asyncio
from collections.abc import Callable
from typing import Any
from weakref import WeakValueDictionary

from agentbus.sessions.manager.engine import Engine, checked_for
from agentbus.sessions.manager.tokens import LockTokens
from agentbus.sessions.model.checking import checking
from agentbus.sessions.model.context import SessionContext
from agentbus.sessions.model.message import Message
from agentbus.sessions.model.options import ManagerOptions
from contracts.clock import Clock, SystemClock
from contracts.commands import AnyCommand, CommandReply, UpdateSession
from contracts.errors import LockLost, NotInitialized, SchemaViolation, SessionNotCurrent, SessionNotFound
from contracts.history import SessionFilter
from contracts.ids import SessionId, conversation_of
from contracts.profile import ProfileChanges
from contracts.session import SessionState
from storage.history import history_page
from storage.port import Store


class ManagerBase:
    """Holds the engine, and knows how to read a session with its messages."""

    def __init__(
        self, engine: Engine | None, options: ManagerOptions | None = None, *, clock: Clock | None = None
    ) -> None:
        self._attached = engine
        self._options = options or ManagerOptions()
        self._clock = clock or SystemClock()
        self._queues = WeakValueDictionary[str, asyncio.Lock]()
        self._saves = WeakValueDictionary[int, asyncio.Lock]()
        """By the identity of a context that is being saved: what makes others who save the same one wait."""
        self._tokens: tuple[Store, LockTokens] | None = None

    @property
    def _engine(self) -> Engine:
        if self._attached is None:
            raise NotInitialized("the session system is not running: start() it first")
        return self._attached

    @property
    def _store(self) -> Store:
        return self._engine.store

    async def _context(self, state: SessionState) -> SessionContext:
        """Return a session with its latest messages."""
        limit = state.profile.max_history or self._options.max_history
        page = await history_page(self._store, state, limit=limit)
        return SessionContext.of(state, [Message.of(shown) for shown in page.items])

    async def _lock_tokens(self) -> LockTokens:
        store = self._store
        if self._tokens is None or self._tokens[0] is not store:
            self._tokens = store, await LockTokens.of(store, self._clock)
        return self._tokens[1]

    async def _check_fence(self, session_id: str, fence: int | None) -> None:
        """Raise LockLost for a token that was never given out for the session's lock."""
        if fence is not None and (await self._lock_tokens()).number_of(lock_name(session_id), fence) is None:
            raise LockLost(f"lock token {fence} was never given out for session {session_id}")

    async def _command(
        self, session_id: str, kind: Callable[..., AnyCommand], request_id: str | None = None, **fields: Any
    ) -> CommandReply:
        """Have a command of a kind carried out on a session, for the user `actor` if that is among its fields.

        Raises at once SchemaViolation for a field that can't be, SessionNotFound (AccessDenied with `actor`) for what
        can't be a session's id, and LockLost for a `fence` that was never given out.
        """
        named = checked_for(session_id, fields.get("actor"))
        with checking("the session can't be changed like that"):
            command = kind(session_id=named, **fields)
        await self._check_fence(session_id, command.fence)
        return await self._engine.send(command, request_id=request_id)

    async def _detach(self, session_id: str) -> None:
        """Make a session nobody's child."""
        try:
            await self._command(session_id, UpdateSession, profile=ProfileChanges(clear=("parent_id",)))
        except (SessionNotFound, SessionNotCurrent):
            return  # It has ended: what it was a part of stays as it was.


def lock_name(session_id: str) -> str:
    """Return the lock's name: the same for all sessions of a conversation, as its fence outlives each of them."""
    return f"session/{conversation_of(SessionId(session_id))}"


def sessions_of(*required: str, **fields: Any) -> SessionFilter:
    """Return a filter. Raises SchemaViolation for a value that can't be.

    None for a `required` field is refused too: it would mean the sessions of everybody.
    """
    if missing := [name for name in required if fields[name] is None]:
        raise SchemaViolation(f"whose sessions? {', '.join(missing)} is None")
    with checking("there can't be such sessions"):
        return SessionFilter(**fields)
