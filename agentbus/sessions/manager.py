"""The session manager: its calls, each handed to the section that carries it out."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import datetime
from time import perf_counter
from typing import Any, Final

from pydantic import JsonValue

from agentbus.contracts.clock import Clock, SystemClock
from agentbus.contracts.errors import AgentBusError, NotInitialized
from agentbus.contracts.history import SessionFilter
from agentbus.contracts.messages import Role
from agentbus.contracts.records import SessionStatistics
from agentbus.sessions.config import ManagerOptions
from agentbus.sessions.engine import NOT_RUNNING, Engine
from agentbus.sessions.model.context import SessionContext
from agentbus.sessions.model.messages import Message
from agentbus.sessions.model.results import Count, Health, Page
from agentbus.sessions.model.types import (
    ChildPolicy,
    ConflictPolicy,
    Permission,
    Platform,
    SessionStatus,
    SessionType,
    Visibility,
)
from agentbus.sessions.model.validation import sessions_of
from agentbus.sessions.sections import Sections, sections_over
from agentbus.sessions.sections.access import AuditEntry
from agentbus.sessions.sections.batch import BatchResult
from agentbus.sessions.sections.checkpoints import Checkpoint
from agentbus.sessions.sections.listing import SessionTree
from agentbus.sessions.sections.locks import LEASE_SECONDS, WAIT_SECONDS
from agentbus.sessions.sections.shared import Caller
from agentbus.sessions.sections.templates import Template
from agentbus.storage.port import Store
from agentbus.workers.concurrency import raise_if_cancelled

ANSWERS_WITHIN: Final = 10.0
"""Seconds that store and broker may take to say that they work."""


class SessionManager:
    """Creates sessions, finds, changes and ends them; the same calls embedded and distributed.

    Every change is a command that the session's owner decides, in one order with the messages that arrive; reads come
    from the store, and a caller reads its own writes. A call that timed out (ReplyTimeout) may be repeated with the
    same `request_id`: it is carried out once. Where a call takes `user_id`, that user's access is checked, and a
    refusal (AccessDenied) says nothing about whether the session exists.
    """

    def __init__(
        self, engine: Engine | None, options: ManagerOptions | None = None, *, clock: Clock | None = None
    ) -> None:
        self._clock = clock or SystemClock()
        self._attached = sections_over(engine, options or ManagerOptions(), self._clock) if engine else None

    async def create_session(
        self,
        chat_id: str | None = None,
        user_id: str | None = None,
        platform: Platform | str = Platform.API,
        session_type: SessionType | str = SessionType.PRIVATE,
        *,
        account: str = "default",
        thread_id: str | None = None,
        agent_id: str | None = None,
        parent_id: str | None = None,
        ai_model: str | None = None,
        tags: tuple[str, ...] | list[str] = (),
        template: str | None = None,
        max_history: int | None = None,
        idle_timeout: float | None = None,
        expires_in: float | None = None,
        expires_at: datetime | None = None,
        custom_data: Mapping[str, JsonValue] | None = None,
        metadata: Mapping[str, JsonValue] | None = None,
        keep_live: bool = False,
        request_id: str | None = None,
    ) -> SessionContext:
        """Create a session and return it.

        With `chat_id` and `user_id` it is the session of that chat: one that is live there is closed as superseded and
        stays readable, or is returned as it is if `keep_live` is set. Without a chat each call makes a session of its
        own. Times are in seconds. A call that timed out may be repeated with the same `request_id`.

        Raises SchemaViolation for a value that can't be, TemplateNotFound, LimitExceeded, ReplyTimeout; for a parent
        that is not there SessionNotFound, or AccessDenied unless `user_id` may change it. If the parent is deleted at
        that moment, the session may be there without one.
        """
        return await self._sections.creation.create(
            chat_id=chat_id,
            user_id=user_id,
            platform=platform,
            session_type=session_type,
            account=account,
            thread_id=thread_id,
            agent_id=agent_id,
            parent_id=parent_id,
            ai_model=ai_model,
            tags=tags,
            template=template,
            max_history=max_history,
            idle_timeout=idle_timeout,
            expires_in=expires_in,
            expires_at=expires_at,
            custom_data=custom_data,
            metadata=metadata,
            keep_live=keep_live,
            request_id=request_id,
        )

    async def restore_or_create_session(
        self, user_id: str, agent_id: str | None = None, *, request_id: str | None = None
    ) -> SessionContext:
        """Return that of the user's live sessions with an agent that was used last; create one if there is none.

        Without an agent any of the user's live sessions will do, whichever agent and chat it is of; one that is created
        has none. Of several calls at once, one creates it. Raises as `create_session` does.
        """
        return await self._sections.creation.restore_or_create(user_id, agent_id, request_id)

    async def get_session(self, session_id: str, *, user_id: str | None = None) -> SessionContext | None:
        """Return a session with its latest messages; None if there is none.

        With `user_id` it raises AccessDenied instead, whether the session is missing or not theirs to see.
        """
        return await self._sections.lifecycle.get(session_id, user_id)

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
        return await self._sections.lifecycle.of_user(user_id, chat_id, platform, account=account, thread_id=thread_id)

    async def session_exists(self, session_id: str, *, user_id: str | None = None) -> bool:
        """Whether there is such a session (and, with `user_id`, whether they may see it)."""
        return await self._sections.lifecycle.exists(session_id, user_id)

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
        return await self._sections.lifecycle.update(context, on_conflict, Caller(user_id, fence, request_id))

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
        return await self._sections.lifecycle.set_metadata(session_id, metadata, Caller(user_id, fence, request_id))

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
        return await self._sections.deletion.delete(session_id, children, Caller(user_id, fence, request_id))

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
        await self._sections.lifecycle.close(session_id, reason, Caller(user_id, fence, request_id))

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
        return await self._sections.lifecycle.extend(session_id, seconds, Caller(user_id, fence, request_id))

    async def refresh_session(
        self, session_id: str, *, user_id: str | None = None, fence: int | None = None, request_id: str | None = None
    ) -> SessionContext:
        """Count as activity, and begin the session's lifetime anew if it has one. Raises as extending does."""
        return await self._sections.lifecycle.refresh(session_id, Caller(user_id, fence, request_id))

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
        """Move a session to another status, or to a state of the installation's own by its name.

        Raises TransitionForbidden, SessionNotFound, AccessDenied.

        One that is made `archived` is moved to the archive by an expiry worker that has one, and can be restored from
        there; without one it stays in the store, and its history can be read.
        """
        await self._sections.lifecycle.set_status(session_id, status, reason, Caller(user_id, fence, request_id))

    async def get_session_state(self, session_id: str, *, user_id: str | None = None) -> SessionStatus | None:
        """Return a session's status; None if there is no such session. Raises AccessDenied as `get_session` does.

        A state of the installation's own is in its context: `get_session(id).state`.
        """
        return await self._sections.lifecycle.status(session_id, user_id)

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
        await self._sections.lifecycle.reset_history(session_id, keep_recent, Caller(user_id, fence, request_id))

    async def cleanup_all_expired(self) -> Count:
        """Expire all sessions whose time has come, and make idle those that were silent; return how many expired.

        One that can't be dealt with (its conversation is blocked) keeps no other from it, and is in `failed`.
        """
        return await self._sections.deadlines.expire()

    async def add_message_to_session(
        self, session_id: str, message: Message, *, user_id: str | None = None, fence: int | None = None
    ) -> Message:
        """Add a message and return it. The message's id makes it safe to repeat: it is there once.

        Raises SessionNotFound, SessionNotCurrent, AccessDenied (unless `user_id` may change the session), LockLost;
        SchemaViolation for a message that can't be.
        """
        return await self._sections.messages.add(session_id, message, user_id, fence)

    async def add_message(
        self,
        session_id: str,
        user_id: str | None,
        role: Role | str,
        content: str,
        *,
        message_id: str | None = None,
        fence: int | None = None,
    ) -> Message:
        """Add a message of a role (user, assistant, system, tool) on behalf of `user_id`, and return it.

        The user's access is checked; None is the application itself. Raises as `add_message_to_session` does.
        """
        return await self._sections.messages.say(session_id, user_id, role, content, message_id=message_id, fence=fence)

    async def get_session_messages(
        self, session_id: str, user_id: str | None = None, *, limit: int = 50, before: str | None = None
    ) -> Page[Message]:
        """Return a session's latest messages, oldest first, and the cursor for those before them.

        `before` is the cursor of the page that was read last. Raises SessionNotFound, or AccessDenied if `user_id` is
        given; ValueError for a limit outside 1..1000 or a cursor of another session.
        """
        return await self._sections.messages.page(session_id, user_id, limit=limit, before=before)

    async def save_checkpoint(
        self,
        session_id: str,
        data: Mapping[str, Any] | None = None,
        *,
        user_id: str | None = None,
        checkpoint_id: str | None = None,
    ) -> str:
        """Save `data` (the session's own data by default) as a checkpoint, and return its id.

        All of it is kept, secrets too: they are left out of what is announced and logged alone. With a `checkpoint_id`
        the call may be repeated: there is one checkpoint of that id. Raises SessionNotFound, AccessDenied;
        SchemaViolation for data that can't be kept.
        """
        return await self._sections.checkpoints.save(session_id, data, user_id, checkpoint_id)

    async def get_checkpoint(
        self, checkpoint_id: str, *, session_id: str | None = None, user_id: str | None = None
    ) -> Checkpoint | None:
        """Return a checkpoint, or None; with `session_id` None too if it is another session's.

        With `user_id` it raises AccessDenied instead of telling.
        """
        return await self._sections.checkpoints.get(checkpoint_id, session_id, user_id)

    async def get_latest_checkpoint(self, session_id: str, *, user_id: str | None = None) -> Checkpoint | None:
        """Return a session's latest checkpoint; None if it has none. Raises SessionNotFound, AccessDenied."""
        return await self._sections.checkpoints.latest(session_id, user_id)

    async def list_checkpoints(
        self, session_id: str, *, user_id: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> Page[Checkpoint]:
        """Return a session's checkpoints, the latest first. Raises SessionNotFound, AccessDenied; ValueError."""
        return await self._sections.checkpoints.page(session_id, user_id, limit=limit, cursor=cursor)

    async def delete_checkpoint(
        self, checkpoint_id: str, *, session_id: str | None = None, user_id: str | None = None
    ) -> bool:
        """Delete a checkpoint (of that session); return whether there was one.

        Raises AccessDenied as `get_checkpoint` does.
        """
        return await self._sections.checkpoints.delete(checkpoint_id, session_id, user_id)

    async def clear_checkpoints(self, session_id: str, *, user_id: str | None = None) -> int:
        """Delete all checkpoints of a session; return how many. Those saved by themselves do not come back.

        Raises SessionNotFound, AccessDenied.
        """
        return await self._sections.checkpoints.clear(session_id, user_id)

    async def restore_checkpoint(
        self,
        session_id: str,
        checkpoint_id: str,
        *,
        user_id: str | None = None,
        fence: int | None = None,
        request_id: str | None = None,
    ) -> Checkpoint:
        """Make a session's data what the checkpoint says: other keys are taken out. Its messages stay.

        Raises CheckpointNotFound (also for one of another session), SessionNotFound, AccessDenied.
        """
        return await self._sections.checkpoints.restore(session_id, checkpoint_id, Caller(user_id, fence, request_id))

    async def save_template(
        self,
        name: str,
        *,
        system_prompt: str | None = None,
        context: Mapping[str, JsonValue] | None = None,
        capabilities: tuple[str, ...] | list[str] = (),
    ) -> Template:
        """Save a template under `name`, in place of the one there was. Raises SchemaViolation."""
        return await self._sections.templates.save(name, system_prompt, context, capabilities)

    async def get_template(self, name: str) -> Template | None:
        """Return a template, or None."""
        return await self._sections.templates.get(name)

    async def list_templates(self) -> list[Template]:
        """Return all templates, the latest first."""
        return await self._sections.templates.all()

    async def delete_template(self, name: str) -> bool:
        """Delete a template; return whether there was one. Sessions made from it stay as they are."""
        return await self._sections.templates.delete(name)

    async def apply_template(
        self,
        session_id: str,
        name: str,
        *,
        user_id: str | None = None,
        fence: int | None = None,
        request_id: str | None = None,
    ) -> None:
        """Set a session's data and metadata to what a template says; keys that it does not name stay.

        Raises TemplateNotFound, SessionNotFound, AccessDenied.
        """
        await self._sections.templates.apply(session_id, name, Caller(user_id, fence, request_id))

    async def acquire_lock(
        self,
        session_id: str,
        *,
        timeout: float = WAIT_SECONDS,
        lease: float = LEASE_SECONDS,
        user_id: str | None = None,
    ) -> int:
        """Acquire the session's lock and return its token; wait up to `timeout` seconds for whoever holds it.

        It ends by itself after `lease` seconds unless it is renewed. Raises LockTimeout, SessionNotFound; AccessDenied
        if `user_id` may not change the session.
        """
        return await self._sections.locks.acquire(session_id, user_id, timeout=timeout, lease=lease)

    async def renew_lock(
        self, session_id: str, token: int, *, lease: float = LEASE_SECONDS, user_id: str | None = None
    ) -> bool:
        """Hold the lock for another `lease` seconds from now; return False if it was lost.

        Raises AccessDenied if `user_id` is given and may not change the session.
        """
        return await self._sections.locks.renew(session_id, token, user_id, lease=lease)

    async def release_lock(self, session_id: str, token: int, *, user_id: str | None = None) -> bool:
        """Let go of the lock; return False if it was lost before. Raises AccessDenied as `renew_lock` does."""
        return await self._sections.locks.release(session_id, token, user_id)

    @asynccontextmanager
    async def lock(
        self,
        session_id: str,
        *,
        timeout: float = WAIT_SECONDS,
        lease: float = LEASE_SECONDS,
        user_id: str | None = None,
    ) -> AsyncIterator[int]:
        """Hold the session's lock, renewed in the background, and give its token to the body.

        It waits up to `timeout` seconds, and is held for `lease` seconds beyond the last renewal.

        Raises as `acquire_lock` does, and LockLost after the body if the lock was lost while it ran.
        """
        async with self._sections.locks.held(session_id, user_id, timeout=timeout, lease=lease) as token:
            yield token

    async def share_session(
        self,
        session_id: str,
        owner_id: str,
        target_user_id: str,
        permission: Permission | str = Permission.READ,
        *,
        fence: int | None = None,
        request_id: str | None = None,
    ) -> None:
        """Let another user read the session, or write to it. Raises AccessDenied unless `owner_id` owns it."""
        await self._sections.access.share(session_id, target_user_id, permission, Caller(owner_id, fence, request_id))

    async def revoke_share(
        self,
        session_id: str,
        owner_id: str,
        target_user_id: str,
        *,
        fence: int | None = None,
        request_id: str | None = None,
    ) -> None:
        """Take back what was shared with a user. Raises AccessDenied unless `owner_id` owns it."""
        await self._sections.access.revoke(session_id, target_user_id, Caller(owner_id, fence, request_id))

    async def set_visibility(
        self,
        session_id: str,
        owner_id: str,
        visibility: Visibility | str,
        *,
        fence: int | None = None,
        request_id: str | None = None,
    ) -> None:
        """Say who may see the session besides its owner. Raises AccessDenied unless `owner_id` owns it."""
        await self._sections.access.set_visibility(session_id, visibility, Caller(owner_id, fence, request_id))

    async def get_audit_log(
        self, session_id: str, *, user_id: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> Page[AuditEntry]:
        """Return who did what to a session, the latest first. The owner alone may see it.

        Raises SessionNotFound, or AccessDenied if `user_id` is given; ValueError for a limit outside 1..1000.
        """
        return await self._sections.access.audit_log(session_id, user_id, limit=limit, cursor=cursor)

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
        return await self._sections.listing.page(
            sessions_of("owner", owner=user_id, agent_id=agent_id, status=status, tags=tuple(tags)),
            limit=limit,
            cursor=cursor,
        )

    async def get_user_sessions(self, user_id: str) -> list[SessionContext]:
        """Return all live sessions of a user."""
        return await self._sections.listing.live(sessions_of("owner", owner=user_id))

    async def get_sessions_by_user(self, user_id: str, agent_id: str | None = None) -> list[SessionContext]:
        """Return all sessions of a user (with an agent), those that ended included."""
        return await self._sections.listing.all(sessions_of("owner", owner=user_id, agent_id=agent_id))

    async def find_sessions(self, where: SessionFilter) -> list[SessionContext]:
        """Return all sessions that match a filter."""
        return await self._sections.listing.all(where)

    async def get_all_active_sessions(self) -> AsyncIterator[SessionContext]:
        """Yield every session that is active, and whose time is not over."""
        async with aclosing(self._sections.listing.active()) as active:
            async for session in active:
                yield session

    async def get_active_session_count(self, user_id: str | None = None) -> int:
        """Return how many sessions (of a user) are active: also if their time is over, until somebody comes by."""
        return await self._sections.listing.count(sessions_of(owner=user_id, status=SessionStatus.ACTIVE))

    async def get_statistics(self, user_id: str | None = None, agent_id: str | None = None) -> SessionStatistics:
        """Return figures about all sessions, or those of a user or agent: total, by status, messages, mean duration."""
        return await self._sections.listing.statistics(sessions_of(owner=user_id, agent_id=agent_id))

    async def list_children(self, session_id: str, *, user_id: str | None = None) -> list[SessionContext]:
        """Return the sessions whose parent this one is, with `user_id` those that they may see.

        Raises SessionNotFound, or AccessDenied with `user_id`.
        """
        return await self._sections.listing.children(session_id, user_id)

    async def get_session_tree(self, session_id: str, *, user_id: str | None = None) -> SessionTree:
        """Return a session with its children, and theirs. Raises as `list_children` does."""
        return await self._sections.listing.tree(session_id, user_id)

    async def create_sessions(self, requests: Sequence[Mapping[str, Any]]) -> list[BatchResult[SessionContext]]:
        """Create many sessions; each request holds the arguments of `create_session`. Results are in order."""
        return await self._sections.batch.create(requests, self.create_session)

    async def delete_sessions(
        self,
        session_ids: Sequence[str],
        *,
        user_id: str | None = None,
        children: ChildPolicy | str = ChildPolicy.REFUSE,
    ) -> list[BatchResult[bool]]:
        """Delete many sessions, as `delete_session` does. Results are in order."""
        return await self._sections.batch.delete(session_ids, children, user_id)

    async def delete_user_sessions(self, user_id: str) -> Count:
        """Delete all sessions that a user owns, those that ended included; return how many.

        One that can't be deleted (its conversation is blocked) keeps no other from it, and is in `failed`.
        """
        return await self._sections.batch.delete_all(sessions_of("owner", owner=user_id))

    async def delete_agent_sessions(self, agent_id: str, user_id: str | None = None) -> Count:
        """Delete all sessions with an agent (of a user), as `delete_user_sessions` does; return how many."""
        return await self._sections.batch.delete_all(sessions_of("agent_id", agent_id=agent_id, owner=user_id))

    async def batch_cleanup(self, older_than_days: float = 30) -> Count:
        """Delete the sessions that ended and had no activity for so many days; return how many.

        What is archived is kept, and what a rule is about to move there: `delete_session` or a rule's step deletes it.
        One that can't be deleted (its conversation is blocked) keeps no other from it, and is in `failed`.
        """
        return await self._sections.batch.clean_up(older_than_days)

    async def health_check(self) -> Health:
        """Return whether sessions can be read and changed, and what does not work; true if everything does."""
        return Health({"store": await self._store_check()})

    async def _store_check(self) -> dict[str, Any]:
        async def ask() -> dict[str, Any]:
            return {"kind": (await self._store.info()).kind}

        return await checked_part(ask)

    @property
    def _sections(self) -> Sections:
        if self._attached is None:
            raise NotInitialized(NOT_RUNNING)
        return self._attached

    @property
    def _engine(self) -> Engine:
        return self._sections.engine

    @property
    def _store(self) -> Store:
        return self._engine.store


async def checked_part(ask: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    """Return whether a part that is asked answers, and how soon; else why not. It is not waited for longer."""
    begun = perf_counter()
    try:
        async with asyncio.timeout(ANSWERS_WITHIN):
            told = await ask()
    except AgentBusError as error:
        raise_if_cancelled()
        return {"healthy": False, "last_error": f"{error.code}: {error}"}
    except TimeoutError:
        raise_if_cancelled()
        return {"healthy": False, "last_error": f"no answer within {ANSWERS_WITHIN:g} s"}
    return {"healthy": True, **told, "milliseconds": round(1000 * (perf_counter() - begun), 3)}
