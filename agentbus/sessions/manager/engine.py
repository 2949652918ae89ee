"""What all calls of the session API go through: commands to the session's owner, reads from the store."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from pydantic import TypeAdapter, ValidationError

from agentbus.client import AgentBus
from agentbus.sessions.model.checking import checking
from contracts.address import Address, Scope, conversation_id_for
from contracts.base import Id
from contracts.commands import AnyCommand, CommandReply
from contracts.errors import (
    AccessDenied,
    ReplyTimeout,
    SessionNotFound,
)
from contracts.ids import ConversationId, SessionId, SessionIdField, digest_of
from contracts.session import SessionState, SessionStatus
from storage.port import Store
from workers.bus.port import UNCERTAIN
from workers.domain.access import DENIED, Right, may
from workers.domain.evolve import replay
from workers.patience import Patience

ATTEMPT_SECONDS: Final = 5.0
"""How long one attempt waits for its reply before the command is sent again, with the same id."""

_UNANSWERED: Final = Patience(transient=(ReplyTimeout, *UNCERTAIN), longest_wait=1.0)
_SESSION_ID: Final = TypeAdapter[SessionId](SessionIdField)
_ID: Final = TypeAdapter[str](Id)


@dataclass(frozen=True, slots=True)
class Engine:
    """Sends commands and reads states. A reply comes after the state was written: a caller reads its own writes."""

    client: AgentBus
    store: Store
    scope: Scope
    call_timeout: float
    """Seconds for which a command is sent again, with the same id, while there is no reply."""
    stopped: Callable[[], bool] = lambda: False
    """Whether what it speaks to was closed for good: then a command is given up at its next failure."""

    async def send(
        self, command: AnyCommand, *, to: ConversationId | None = None, request_id: str | None = None
    ) -> CommandReply:
        """Have a command carried out once, however often it must be sent.

        Raises Refused, ReplyTimeout, BusError; SchemaViolation for a `request_id` that is no id.
        """
        command_id = checked_request(request_id)
        deadline = asyncio.get_running_loop().time() + self.call_timeout

        async def attempt() -> CommandReply:
            left = max(0.1, deadline - asyncio.get_running_loop().time())
            return await self.client.send(command, to=to, command_id=command_id, timeout=min(ATTEMPT_SECONDS, left))

        patience = _UNANSWERED.within(self.call_timeout)
        return await patience.call(attempt, wanted=lambda: not self.stopped())

    async def kept(self, session_id: str) -> SessionState | None:
        """Return what is kept of a session, also of a deleted one; None if there never was one."""
        try:
            return await self.store.heads.get(checked_id(session_id))
        except SessionNotFound:
            return None

    async def state(self, session_id: str) -> SessionState | None:
        """Return a session's state; None if there is no such session, or it was deleted."""
        found = await self.kept(session_id)
        return None if found is None or found.status is SessionStatus.DELETED else found

    async def readable(self, session_id: str, user: str | None, right: Right = Right.READ) -> SessionState | None:
        """Return a session's state as `state` does. Raises AccessDenied if `user` is given and may not see it."""
        found = await self.state(session_id)
        if user is not None and (found is None or not may(found, user, right)):
            raise AccessDenied(DENIED)
        return found

    async def existing(self, session_id: str, user: str | None = None, right: Right = Right.READ) -> SessionState:
        """Return a session's state. Raises SessionNotFound, or AccessDenied if `user` is given."""
        found = await self.readable(session_id, user, right)
        if found is None:
            raise SessionNotFound(f"there is no session {session_id}")
        return found

    async def current(self, address: Address) -> SessionState | None:
        """Return the state of the latest session at `address`."""
        conversation = conversation_id_for(address, self.scope)
        kept = (await self.store.log.load([conversation]))[conversation]
        state = replay(kept.head or SessionState.empty(conversation), kept.commits)
        return state if state.generation else None


def checked_id(session_id: str) -> SessionId:
    """Return `session_id` if it is one. Raises SessionNotFound: nothing else can be a session's id."""
    try:
        return _SESSION_ID.validate_python(session_id)
    except ValidationError:
        raise SessionNotFound(f"there is no session {session_id!r}: that is not a session's id") from None


def checked_for(session_id: str, user: str | None) -> SessionId:
    """Return `session_id` if it is one. Raises SessionNotFound, or AccessDenied if `user` is given."""
    try:
        return checked_id(session_id)
    except SessionNotFound:
        if user is None:
            raise
        raise AccessDenied(DENIED) from None


def checked_request(request_id: str | None) -> str:
    """Return `request_id`, or a new one for None. Raises SchemaViolation if it is no id."""
    with checking("request_id can't be used"):
        return uuid4().hex if request_id is None else _ID.validate_python(request_id)


def is_id(text: str) -> bool:
    """Whether `text` can be the id or key of anything that is kept."""
    try:
        _ID.validate_python(text)
    except ValidationError:
        return False
    return True


def made_up_conversation(request_id: str, owner: str | None) -> ConversationId:
    """Return the conversation of a session without a chat: the same again when its owner repeats its creation."""
    return ConversationId(digest_of(("unaddressed", owner, request_id)))
