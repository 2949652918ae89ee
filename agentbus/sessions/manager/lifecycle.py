"""Finding, saving and ending sessions."""

import asyncio
from collections.abc import Mapping

from pydantic import JsonValue, ValidationError

from agentbus.sessions.manager.checkpoints import Checkpoints
from agentbus.sessions.manager.creation import Creation
from agentbus.sessions.model.checking import checking
from agentbus.sessions.model.context import SessionContext
from agentbus.sessions.model.count import Count
from agentbus.sessions.model.types import ChildPolicy, ConflictPolicy, Platform, SessionStatus, platform_of
from contracts.address import Address
from contracts.commands import (
    ApplyDeadlines,
    ChangeState,
    CloseSession,
    DeleteSession,
    ExtendSession,
    RefreshSession,
    TrimHistory,
    UpdateSession,
)
from contracts.errors import (
    AccessDenied,
    AgentBusError,
    LockLost,
    Refused,
    SchemaViolation,
    SessionNotFound,
)
from contracts.history import SessionFilter
from contracts.ids import InputId, SessionId
from contracts.session import SessionState
from storage.history import history_page
from storage.port import MAX_PAGE
from storage.reading import iter_due, iter_sessions
from workers.domain.access import DENIED, Right, may
from workers.domain.deadlines import goes_on
from workers.domain.repeats import caused_by, check_same
from workers.sync.members import latest_session


class Lifecycle(Creation, Checkpoints):
    """The section of a session's life. `user_id`, where given, is who does it: their access is checked."""

    async def get_session(self, session_id: str, *, user_id: str | None = None) -> SessionContext | None:
        """Return a session with its latest messages; None if there is none.

        With `user_id` it raises AccessDenied instead, whether the session is missing or not theirs to see.
        """
        state = await self._engine.readable(session_id, user_id)
        return None if state is None else await self._context(state)

    async def get_user_session(
        self,
        user_id: str,
        chat_id: str,
        platform: Platform | str,
        *,
        account: str = "default",
        thread_id: str | None = None,
    ) -> SessionContext | None:
        """Return the live session of a user in a chat, with its latest messages; None if there is none."""
        named = platform_of(platform)
        try:
            address = Address(platform=named, account=account, chat=chat_id, thread=thread_id, user=user_id)
        except ValidationError:
            return None  # There can't be one.
        state = await self._engine.current(address)
        return await self._context(state) if state and goes_on(state, self._clock.now()) else None

    async def session_exists(self, session_id: str, *, user_id: str | None = None) -> bool:
        """Whether there is such a session (and, with `user_id`, whether they may see it)."""
        state = await self._engine.state(session_id)
        return state is not None and may(state, user_id, Right.READ)

    async def update_session(
        self,
        context: SessionContext,
        *,
        user_id: str | None = None,
        on_conflict: ConflictPolicy | str = ConflictPolicy.RAISE,
        fence: int | None = None,
        request_id: str | None = None,
    ) -> bool:
        """Save what was changed in `context` since it was read, all of it or nothing; then it is as saved.

        Fields that others have changed stay as those left them. A field that both changed is a conflict:
        EditConflict is raised and nothing saved, or it is overwritten if `on_conflict` says so. `fence` is the token
        of the lock that the caller holds. Returns whether there was something to save. Calls with one context at once
        are carried out one after the other; what was changed in it meanwhile stays to be saved.

        Raises SessionNotFound, SessionNotCurrent, AccessDenied, EditConflict, LockLost, TransitionForbidden,
        LimitExceeded; SchemaViolation for a value that can't be.
        """
        with checking("the session can't be saved"):
            overwrite = ConflictPolicy(on_conflict) is ConflictPolicy.OVERWRITE
        async with self._saves.setdefault(id(context), asyncio.Lock()):
            with checking("the session can't be saved"):
                sent = context.as_it_is()
                command = sent.changes(overwrite=overwrite, actor=user_id, fence=fence)
            if command is None:
                await self._engine.existing(context.session_id, user_id, Right.WRITE)
                return False
            await self._check_fence(context.session_id, fence)
            await self._engine.send(command, request_id=request_id)
            if saved := await self._engine.readable(context.session_id, user_id):  # unless it was deleted just now
                context.saved_as(await self._context(saved), sent)
        if command.messages:
            await self._checkpoint_by_itself(context.session_id)
        return True

    async def update_session_metadata(
        self,
        session_id: str,
        metadata: Mapping[str, JsonValue],
        *,
        user_id: str | None = None,
        fence: int | None = None,
        request_id: str | None = None,
    ) -> SessionContext:
        """Set keys of a session's metadata; the others stay. Returns the session. Raises as `update_session` does."""
        changes = {"values": metadata}
        await self._command(session_id, UpdateSession, request_id, actor=user_id, fence=fence, metadata=changes)
        return await self._context(await self._engine.existing(session_id, user_id))

    async def delete_session(
        self,
        session_id: str,
        *,
        user_id: str | None = None,
        children: ChildPolicy | str = ChildPolicy.REFUSE,
        fence: int | None = None,
        request_id: str | None = None,
    ) -> bool:
        """Delete a session: it is no longer found, shown or listed. Return whether there was one.

        `children` says what becomes of its children: a session that has some is refused by default (Refused). One that
        is created meanwhile has no parent then, or is deleted with it (cascade).
        With `user_id` it raises AccessDenied unless they own it, or did; LockLost for a `fence` that was never
        given out, or after which a later one was seen; RequestReused for the `request_id` of another call.
        """
        with checking("children can't be dealt with like that"):
            policy = ChildPolicy(children)
        state = await self._engine.kept(session_id)
        if user_id is not None and (state is None or not may(state, user_id, Right.OWN)):
            raise AccessDenied(DENIED)
        if state is None:
            return False
        if state.status is SessionStatus.DELETED:
            told = await self._deleted_by(state, request_id)
            await self._settle_late(session_id, user_id, ChildPolicy.DETACH)  # who deleted it may have died before that
            return told
        await self._check_fence(session_id, fence)
        if fence is not None:  # before anything becomes of its children; an earlier session's head knows no later one
            seen = (await latest_session(self._store, state.conversation_id)).fence
            if fence < seen:
                raise LockLost(f"lock token {fence} is older than {seen}: somebody else has held the lock since")
        await self._settle_children(session_id, user_id, policy)
        try:
            # An owner never changes, so that what was checked here still holds. Session workers of earlier releases let
            # nobody delete an earlier session but AgentBus itself.
            actor = user_id if state.is_live else None
            await self._command(session_id, DeleteSession, request_id, actor=actor, fence=fence)
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
        commit = (await self._store.log.commits_of_inputs(state.conversation_id, [given])).get(given)
        if commit is None:
            return False
        check_same(DeleteSession(session_id=state.session_id), caused_by(given, commit))
        return True

    async def close_session(
        self,
        session_id: str,
        *,
        user_id: str | None = None,
        reason: str | None = None,
        fence: int | None = None,
        request_id: str | None = None,
    ) -> None:
        """End a session; it stays readable. Raises SessionNotFound, SessionNotCurrent, AccessDenied."""
        await self._command(session_id, CloseSession, request_id, actor=user_id, fence=fence, reason=reason)

    async def extend_session_lifetime(
        self,
        session_id: str,
        seconds: float,
        *,
        user_id: str | None = None,
        fence: int | None = None,
        request_id: str | None = None,
    ) -> SessionContext:
        """Move the end of a session by `seconds` (from now, if it had none) and return the session.

        Raises SessionNotFound if it is over already, AccessDenied; SchemaViolation unless seconds are more than 0, and
        at most 100 years.
        """
        await self._command(session_id, ExtendSession, request_id, actor=user_id, fence=fence, seconds=seconds)
        return await self._context(await self._engine.existing(session_id, user_id))

    async def refresh_session(
        self, session_id: str, *, user_id: str | None = None, fence: int | None = None, request_id: str | None = None
    ) -> SessionContext:
        """Count as activity, and begin the session's lifetime anew if it has one. Raises as extending does."""
        await self._command(session_id, RefreshSession, request_id, actor=user_id, fence=fence)
        return await self._context(await self._engine.existing(session_id, user_id))

    async def set_session_state(
        self,
        session_id: str,
        status: SessionStatus | str,
        *,
        user_id: str | None = None,
        reason: str | None = None,
        fence: int | None = None,
        request_id: str | None = None,
    ) -> None:
        """Move a session to another status. Raises TransitionForbidden, SessionNotFound, AccessDenied.

        One that is made `archived` is moved to the archive by an expiry worker that has one, and can be restored from
        there; without one it stays in the store, and its history can be read.
        """
        await self._command(
            session_id, ChangeState, request_id, actor=user_id, fence=fence, status=status, reason=reason
        )

    async def get_session_state(self, session_id: str, *, user_id: str | None = None) -> SessionStatus | None:
        """Return a session's status; None if there is no such session. Raises AccessDenied as `get_session` does."""
        state = await self._engine.readable(session_id, user_id)
        return None if state is None else state.status

    async def reset_session_history(
        self,
        session_id: str,
        keep_recent: int = 0,
        *,
        user_id: str | None = None,
        fence: int | None = None,
        request_id: str | None = None,
    ) -> None:
        """No longer show a session's messages, but the `keep_recent` latest ones (up to 1000).

        Raises SessionNotFound, AccessDenied; SchemaViolation for another number.
        """
        if not 0 <= keep_recent <= MAX_PAGE:
            raise SchemaViolation(f"keep_recent is {keep_recent}, it must be 0 to {MAX_PAGE}")
        state = await self._engine.existing(session_id, user_id, Right.WRITE)
        before = state.sequence + 1
        if keep_recent:
            page = await history_page(self._store, state, limit=keep_recent)
            before = page.items[0].sequence if page.items else before
        await self._command(session_id, TrimHistory, request_id, actor=user_id, fence=fence, before=before)

    async def cleanup_all_expired(self) -> Count:
        """Expire all sessions whose time has come, and make idle those that were silent; return how many expired.

        One that can't be dealt with (its conversation is blocked) keeps no other from it, and is in `failed`.
        """
        done, failed = await self._apply_deadlines()
        return Count(len(done[SessionStatus.EXPIRED]), failed)

    async def _apply_deadlines(self) -> tuple[dict[SessionStatus, list[SessionId]], dict[SessionId, AgentBusError]]:
        """Have all sessions that are due expire or become idle; return which did, and which could not, and why."""
        done: dict[SessionStatus, list[SessionId]] = {SessionStatus.EXPIRED: [], SessionStatus.IDLE: []}
        failed: dict[SessionId, AgentBusError] = {}
        until = self._clock.now()
        async for state in iter_due(self._store, until):
            try:
                await self._command(state.session_id, ApplyDeadlines)
            except Refused as error:
                failed[state.session_id] = error
                continue
            status = await self.get_session_state(state.session_id)
            if status in done:
                done[status].append(state.session_id)
        return done, failed

    async def _settle_children(self, session_id: str, user_id: str | None, policy: ChildPolicy) -> None:
        async for child in iter_sessions(self._store, SessionFilter(parent_id=session_id)):
            match policy:
                case ChildPolicy.REFUSE:
                    raise Refused(
                        f"session {session_id} has children: delete them first, or say children='detach' or 'cascade'"
                    )
                case ChildPolicy.CASCADE:
                    await self.delete_session(child.session_id, user_id=user_id, children=policy)
                case ChildPolicy.DETACH:
                    await self._detach(child.session_id)

    async def _settle_late(self, session_id: str, user_id: str | None, policy: ChildPolicy) -> None:
        """Settle the children that came while their parent was deleted; what they have seen was still there.

        Whoever creates one later sees, once it is there, that its parent is not: `create_session` settles those.
        """
        async for child in iter_sessions(self._store, SessionFilter(parent_id=session_id)):
            if not child.is_live:
                continue
            if policy is ChildPolicy.CASCADE and may(child, user_id, Right.OWN):
                await self.delete_session(child.session_id, user_id=user_id, children=policy)
            else:
                await self._detach(child.session_id)
