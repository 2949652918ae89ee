"""Finding, saving and ending sessions."""

import asyncio
from collections.abc import Mapping
from typing import Final
from weakref import WeakValueDictionary

from pydantic import JsonValue, ValidationError

from agentbus.contracts.address import Address
from agentbus.contracts.clock import Clock
from agentbus.contracts.commands import (
    ChangeState,
    CloseSession,
    ExtendSession,
    RefreshSession,
    TrimHistory,
    UpdateSession,
)
from agentbus.contracts.errors import SchemaViolation
from agentbus.contracts.tracking import StateTransitionType
from agentbus.sessions.engine import Engine
from agentbus.sessions.model.context import SessionContext
from agentbus.sessions.model.types import ConflictPolicy, Platform, SessionStatus, platform_of
from agentbus.sessions.model.validation import checking
from agentbus.sessions.sections.checkpoints import Checkpoints
from agentbus.sessions.sections.shared import Caller, Commands, Contexts
from agentbus.storage.history import history_page
from agentbus.storage.port import MAX_PAGE
from agentbus.workers.domain.access import Right, may
from agentbus.workers.domain.deadlines import goes_on

_STATUSES: Final = frozenset(SessionStatus)


class Lifecycle:
    """A session's life, from when it is there to its end."""

    def __init__(
        self, engine: Engine, commands: Commands, contexts: Contexts, checkpoints: Checkpoints, clock: Clock
    ) -> None:
        self._engine = engine
        self._commands = commands
        self._contexts = contexts
        self._checkpoints = checkpoints
        self._clock = clock
        self._saves = WeakValueDictionary[int, asyncio.Lock]()
        """By the identity of a context that is being saved: what makes others who save the same one wait."""

    async def get(self, session_id: str, user_id: str | None) -> SessionContext | None:
        state = await self._engine.readable(session_id, user_id)
        return None if state is None else await self._contexts.of(state)

    async def of_user(
        self, user_id: str, chat_id: str, platform: Platform | str, *, account: str, thread_id: str | None
    ) -> SessionContext | None:
        named = platform_of(platform)
        try:
            address = Address(platform=named, account=account, chat=chat_id, thread=thread_id, user=user_id)
        except ValidationError:
            return None  # There can't be one.
        state = await self._engine.current(address)
        return await self._contexts.of(state) if state and goes_on(state, self._clock.now()) else None

    async def exists(self, session_id: str, user_id: str | None) -> bool:
        state = await self._engine.state(session_id)
        return state is not None and may(state, user_id, Right.READ)

    async def update(self, context: SessionContext, on_conflict: ConflictPolicy | str, caller: Caller) -> bool:
        with checking("the session can't be saved"):
            overwrite = ConflictPolicy(on_conflict) is ConflictPolicy.OVERWRITE
        async with self._saves.setdefault(id(context), asyncio.Lock()):
            with checking("the session can't be saved"):
                sent = context.as_it_is()
                command = sent.changes(overwrite=overwrite, actor=caller.user_id, fence=caller.fence)
            if command is None:
                await self._engine.existing(context.session_id, caller.user_id, Right.WRITE)
                return False
            await self._commands.send(context.session_id, command, caller.request_id)
            # unless it was deleted just now
            if saved := await self._engine.readable(context.session_id, caller.user_id):
                context.saved_as(await self._contexts.of(saved), sent)
        if command.messages:
            await self._checkpoints.save_due(context.session_id)
        return True

    async def set_metadata(self, session_id: str, metadata: Mapping[str, JsonValue], caller: Caller) -> SessionContext:
        await self._commands.carry_out(session_id, UpdateSession, caller, metadata={"values": metadata})
        return await self._now(session_id, caller)

    async def close(self, session_id: str, reason: str | None, caller: Caller) -> None:
        await self._commands.carry_out(session_id, CloseSession, caller, reason=reason)

    async def extend(self, session_id: str, seconds: float, caller: Caller) -> SessionContext:
        await self._commands.carry_out(session_id, ExtendSession, caller, seconds=seconds)
        return await self._now(session_id, caller)

    async def refresh(self, session_id: str, caller: Caller) -> SessionContext:
        await self._commands.carry_out(session_id, RefreshSession, caller)
        return await self._now(session_id, caller)

    async def set_status(
        self,
        session_id: str,
        state: SessionStatus | str,
        reason: str | None,
        caller: Caller,
        why: StateTransitionType | None = None,
    ) -> None:
        wanted = {"status" if state in _STATUSES else "state": state}
        await self._commands.carry_out(session_id, ChangeState, caller, **wanted, type=why, reason=reason)

    async def status(self, session_id: str, user_id: str | None) -> SessionStatus | None:
        state = await self._engine.readable(session_id, user_id)
        return None if state is None else state.status

    async def reset_history(self, session_id: str, keep_recent: int, caller: Caller) -> None:
        if not 0 <= keep_recent <= MAX_PAGE:
            raise SchemaViolation(f"keep_recent is {keep_recent}, it must be 0 to {MAX_PAGE}")
        state = await self._engine.existing(session_id, caller.user_id, Right.WRITE)
        before = state.sequence + 1
        if keep_recent:
            page = await history_page(self._engine.store, state, limit=keep_recent)
            before = page.items[0].sequence if page.items else before
        await self._commands.carry_out(session_id, TrimHistory, caller, before=before)

    async def _now(self, session_id: str, caller: Caller) -> SessionContext:
        return await self._contexts.of(await self._engine.existing(session_id, caller.user_id))
