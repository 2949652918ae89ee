"""Creating sessions, within the limits of their users."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from pydantic import JsonValue

from agentbus.contracts.address import Address, conversation_id_for
from agentbus.contracts.clock import Clock
from agentbus.contracts.commands import CloseSession, CreateSession
from agentbus.contracts.errors import (
    AccessDenied,
    BusError,
    LimitExceeded,
    Refused,
    SessionNotCurrent,
    SessionNotFound,
    StoreError,
)
from agentbus.contracts.events import SessionStarted
from agentbus.contracts.history import SessionFilter
from agentbus.contracts.ids import InputId, SessionId, conversation_of, digest_of
from agentbus.contracts.profile import Profile
from agentbus.contracts.session import SessionState
from agentbus.contracts.telemetry import Action
from agentbus.sessions.config import ManagerOptions
from agentbus.sessions.engine import Engine, made_up_conversation
from agentbus.sessions.model.context import SessionContext
from agentbus.sessions.model.messages import to_utc
from agentbus.sessions.model.types import LimitPolicy, Platform, SessionType, platform_of
from agentbus.sessions.model.validation import checked_request, checking, sessions_of
from agentbus.sessions.sections.locks import Leases
from agentbus.sessions.sections.shared import Commands, Contexts
from agentbus.sessions.sections.templates import Templates
from agentbus.storage.log_lines import Logger
from agentbus.storage.paging import listed_at
from agentbus.storage.reading import iter_live, iter_sessions
from agentbus.workers.concurrency import raise_if_cancelled
from agentbus.workers.domain.access import DENIED, Right, may
from agentbus.workers.domain.deadlines import goes_on
from agentbus.workers.faults import told

_log = Logger(__name__)

LIMIT_SECONDS: Final = 30.0
"""How long creating a session may wait for others that create one for the same user."""


class Creation:
    """Creates sessions: as the options say where the caller says nothing."""

    def __init__(
        self,
        engine: Engine,
        commands: Commands,
        *,
        contexts: Contexts,
        leases: Leases,
        templates: Templates,
        options: ManagerOptions,
        clock: Clock,
    ) -> None:
        self._engine = engine
        self._commands = commands
        self._contexts = contexts
        self._leases = leases
        self._templates = templates
        self._options = options
        self._clock = clock

    async def create(
        self,
        *,
        chat_id: str | None = None,
        user_id: str | None = None,
        platform: Platform | str = Platform.API,
        session_type: SessionType | str = SessionType.PRIVATE,
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
        if parent_id is not None:
            await self._engine.existing(parent_id, user_id, Right.WRITE)
        chosen = await self._templates.named(template)
        with checking("the session can't be created"):
            places = {"agent_id": agent_id, "session_type": session_type, "parent_id": parent_id, "template": template}
            terms = {"ai_model": ai_model, "tags": tags, "max_history": max_history}
            ends = self._ends(idle_timeout, expires_in, expires_at)
            if ends["expires_at"] and ends["expires_at"] <= self._clock.now():
                raise ValueError(f"expires_at: {ends['expires_at']} is over already")
            command = CreateSession(
                address=_address(platform, account, chat_id, thread_id, user_id),
                keep_live=keep_live,
                data={**chosen.context, **(custom_data or {})},
                metadata={**chosen.metadata, **(metadata or {})},
                profile=Profile.model_validate({"owner": user_id, **places, **terms, **ends}),
            )
        return await self._below_parent(command, checked_request(request_id), user_id)

    async def _below_parent(self, command: CreateSession, request_id: str, user_id: str | None) -> SessionContext:
        """Create a session. If its parent is deleted meanwhile it has none; refused if it went with its parent.

        Whoever deletes a session looks for its children once more when it is gone, and who creates one for its parent
        when it is there: whichever process comes last sees what the other one did.
        """
        parent = command.profile.parent_id
        try:
            created = await self._within_limit(command, request_id)
            if parent is None or created.parent_id != parent or await self._engine.state(parent):
                return created
            await self._commands.detach(created.session_id)
            return await self._contexts.of(await self._engine.existing(created.session_id))
        except SessionNotFound:
            if parent is not None:
                await self._engine.existing(parent, user_id, Right.WRITE)  # as if it had been deleted before
            raise

    def _ends(
        self, idle_timeout: float | None, expires_in: float | None, expires_at: datetime | None
    ) -> dict[str, Any]:
        """Return the parts of a profile that say how long a session lasts."""
        options = self._options
        return {
            "idle_timeout": options.idle_timeout if idle_timeout is None else idle_timeout,
            "lifetime": options.time_to_live if expires_in is None else expires_in,
            "expires_at": to_utc(expires_at) if expires_at else None,
        }

    async def restore_or_create(self, user_id: str, agent_id: str | None, request_id: str | None) -> SessionContext:
        where = sessions_of("owner", owner=user_id, agent_id=agent_id)
        if found := await self._last_live(where):
            return found
        lock = f"restore/{digest_of((user_id, agent_id))}"
        async with self._leases.locked(lock, timeout=LIMIT_SECONDS, lease=LIMIT_SECONDS):
            found = await self._last_live(where)
            return found or await self.create(user_id=user_id, agent_id=agent_id, request_id=request_id)

    async def _last_live(self, where: SessionFilter) -> SessionContext | None:
        async for state in iter_sessions(self._engine.store, where):
            if goes_on(state, self._clock.now()):
                return await self._contexts.of(state)
        return None

    async def _within_limit(self, command: CreateSession, request_id: str) -> SessionContext:
        if command.keep_live and command.address:
            # Almost always there is one: reading it takes neither a command nor the lock of the limit.
            found = await self._engine.current(command.address)
            if found and goes_on(found, self._clock.now()):
                return await self._contexts.of(found)
        limit, owner = self._options.max_sessions_per_user, command.profile.owner
        if limit is None or owner is None:
            return await self._create(command, request_id)
        # One at a time for each user: who counts sees what those before have created.
        async with self._leases.locked(f"limit/{digest_of((owner,))}", timeout=LIMIT_SECONDS, lease=LIMIT_SECONDS):
            if self._options.on_limit is LimitPolicy.REFUSE:
                others = await self._others_of(owner, command, request_id)
                if len(others) >= limit:
                    raise LimitExceeded(
                        f"user {owner} has {len(others)} live sessions, the limit is {limit}: close one first"
                    )
                return await self._create(command, request_id)
            created = await self._create(command, request_id)
            # Only now: what is refused, or fails, must have cost nobody a session.
            others = await self._others_of(owner, command, request_id)
            # A creation that is made again may be of a session that has ended: that one takes no room.
            room = limit - 1 if self._is_live(created) else limit
            for state in sorted(others, key=listed_at)[: max(0, len(others) - room)]:
                await self._close_oldest(state)
            return created

    def _is_live(self, session: SessionContext) -> bool:
        return session.status.is_live and (session.expires_at is None or session.expires_at > self._clock.now())

    async def _create(self, command: CreateSession, request_id: str) -> SessionContext:
        owner = command.profile.owner
        to = None if command.address else made_up_conversation(request_id, owner)
        reply = await self._engine.send(command, to=to, request_id=request_id)
        session_id = reply.session_id or ""
        if reply.repeated:
            session_id = await self._created_by(request_id, session_id)
        state = await self._engine.state(session_id)
        if state is None:
            raise SessionNotFound(f"session {session_id} was deleted just after it was created")
        if reply.repeated and not command.keep_live and not may(state, owner, Right.READ):
            raise AccessDenied(DENIED)  # It was somebody else's request.
        return await self._contexts.of(state) if state.message_count else SessionContext.of(state)

    async def _created_by(self, request_id: str, latest: str) -> str:
        """Return the session that a repeated request started, if others came after it in its conversation."""
        key = InputId(request_id)
        conversation = conversation_of(SessionId(latest))
        commits = await self._engine.store.log.commits_of_inputs(conversation, [key])
        events = commits[key].events if key in commits else ()
        started = (one.session_id for one in events if isinstance(one, SessionStarted) and one.cause == key)
        return next(started, latest)

    async def _others_of(self, owner: str, command: CreateSession, request_id: str) -> list[SessionState]:
        """Return a user's live sessions, but for the one that is created and what it takes the place of.

        Those whose time is over are none, expired or not yet.
        """
        same = conversation_id_for(command.address, self._engine.scope) if command.address else None
        same = same or made_up_conversation(request_id, owner)
        now = self._clock.now()
        live = iter_live(self._engine.store, SessionFilter(owner=owner))
        return [state async for state in live if goes_on(state, now) and state.conversation_id != same]

    async def _close_oldest(self, state: SessionState) -> None:
        try:
            await self._commands.carry_out(state.session_id, CloseSession, reason="limit")
        except (SessionNotFound, SessionNotCurrent):
            return  # It ended by itself meanwhile.
        except (Refused, StoreError, BusError) as error:
            # The new session is there: the call has succeeded, and the next one that creates a session tries again.
            raise_if_cancelled()
            _log.warning(Action.LIMIT_NOT_HELD, session_id=state.session_id, **told(error))


def _address(
    platform: Platform | str, account: str, chat_id: str | None, thread_id: str | None, user_id: str | None
) -> Address | None:
    """Return where the session's chat is; None for a session without one. Raises ValueError."""
    if chat_id is None:
        return None
    if user_id is None:
        raise ValueError("a session of a chat needs a user_id too")
    return Address(platform=platform_of(platform), account=account, chat=chat_id, thread=thread_id, user=user_id)
