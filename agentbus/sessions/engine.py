"""What all calls of the session API go through: commands to the session's owner, reads from the store."""

import asyncio
from collections.abc import Callable
from typing import Final

from agentbus.client import AgentBus
from agentbus.contracts.address import Address, Scope, conversation_id_for
from agentbus.contracts.commands import AnyCommand, CommandReply
from agentbus.contracts.errors import (
    AccessDenied,
    NotInitialized,
    ReplyTimeout,
    SessionNotFound,
)
from agentbus.contracts.ids import ConversationId, digest_of
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.sessions.model.validation import checked_id, checked_request
from agentbus.storage.port import Store
from agentbus.workers.bus.port import UNCERTAIN
from agentbus.workers.domain.access import DENIED, Right, may
from agentbus.workers.domain.evolve import replay
from agentbus.workers.patience import Patience

ATTEMPT_SECONDS: Final = 5.0
"""How long one attempt waits for its reply before the command is sent again, with the same id."""

_UNANSWERED: Final = Patience(transient=(ReplyTimeout, *UNCERTAIN), longest_wait=1.0)

NOT_RUNNING: Final = "the session system is not running: start() it first"


class Engine:
    """Sends commands and reads states. A reply comes after the state was written: a caller reads its own writes.

    For `call_timeout` seconds a command is sent again, with the same id, while there is no reply. `stopped` says
    whether what it speaks to was closed for good: then a command is given up at its next failure.
    """

    def __init__(
        self,
        client: AgentBus,
        store: Store,
        scope: Scope,
        call_timeout: float,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self.client = client
        self.scope = scope
        self.call_timeout = call_timeout
        self.stopped = stopped
        self._store = store

    @property
    def call_timeout(self) -> float:
        """For how many seconds a command is sent again."""
        return self._call_timeout

    @call_timeout.setter
    def call_timeout(self, seconds: float) -> None:
        self._call_timeout = seconds
        self._patience = _UNANSWERED.within(seconds)

    @property
    def store(self) -> Store:
        """The store. Raises NotInitialized when it was closed for good."""
        if self.stopped():
            raise NotInitialized(NOT_RUNNING)
        return self._store

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

        return await self._patience.call(attempt, wanted=lambda: not self.stopped())

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


def made_up_conversation(request_id: str, owner: str | None) -> ConversationId:
    """Return the conversation of a session without a chat: the same again when its owner repeats its creation."""
    return ConversationId(digest_of(("unaddressed", owner, request_id)))
