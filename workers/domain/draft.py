"""Collects the events that one input causes, numbering them as they come."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, TypeVar

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.base import constructed, to_utc_milliseconds
from agentbus.contracts.events import (
    AnyEvent,
    CloseReason,
    MessageAppended,
    SessionClosed,
    SessionStarted,
    StartReason,
    StateChanged,
)
from agentbus.contracts.ids import InputId, SessionId, session_id_for
from agentbus.contracts.machine import StateMachine, StateTransition
from agentbus.contracts.messages import SessionMessage
from agentbus.contracts.operators import Operator
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.contracts.stamps import Stamp, next_stamp
from agentbus.workers.domain.checks.states import DEFAULT

E = TypeVar("E", bound=AnyEvent)

Heads = Mapping[SessionId, SessionState]
"""The heads of earlier sessions of a conversation, and of parents, of those that commands name."""

NO_HEADS: Final[Heads] = MappingProxyType({})


class Draft:
    """The events of one decision: each gets its session, its sequence, its moment, its cause, and whose it is."""

    __slots__ = (
        "_actor",
        "_by",
        "_clock",
        "_generation",
        "_lineage",
        "_platform",
        "_sequence",
        "_state",
        "at",
        "cause",
        "earlier",
        "events",
        "identity",
        "machine",
    )

    def __init__(
        self,
        state: SessionState,
        cause: InputId,
        at: datetime,
        address: Address | None,
        *,
        actor: str | None = None,
        by: Operator | None = None,
        earlier: Heads = NO_HEADS,
        machine: StateMachine = DEFAULT,
        lineage: int | None = None,
    ) -> None:
        self._state = state
        self._lineage = lineage
        self._actor = actor
        self._by = by
        self.machine = machine
        self.cause = cause
        self.at = to_utc_milliseconds(at)
        self.earlier = earlier
        self._generation = state.generation
        self._sequence = state.sequence
        where = address or state.address
        self._platform: Platform | None = where.platform if where else None
        self._clock = state.clock
        self.identity = state.identity
        self.events: list[AnyEvent] = []

    @property
    def session_id(self) -> SessionId:
        """The session that the next event belongs to."""
        return session_id_for(self._state.conversation_id, self._generation)

    def add(self, kind: type[E], **fields: Any) -> None:
        """Add an event of the current session."""
        self.events.append(kind(**self._told(fields)))

    def append(self, message: SessionMessage, **fields: Any) -> None:
        """Add a message to the current session. It is not checked again: each one of a conversation comes by here."""
        self.events.append(constructed(MessageAppended, **self._told({"message": message, **fields})))

    def _told(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Return the fields of the next event: those that every event has, and its own."""
        self._sequence += 1
        if self.identity is not None:
            fields = {"identity": self.identity, **fields}
        if self._lineage is not None:
            fields["lineage"] = self._lineage
        if self._by is not None and "actor" not in fields:  # or else it is not the command's doing
            fields["by"] = self._by
        return {
            "session_id": self.session_id,
            "sequence": self._sequence,
            "at": self.at,
            "cause": self.cause,
            "platform": self._platform,
            "actor": self._actor,
            **fields,
        }

    def stamp(self) -> Stamp:
        """Return the stamp of what is written next: later than all that the conversation has seen."""
        self._clock = next_stamp(self._clock, self.at, self._platform, self._state.conversation_id)
        return self._clock

    def start(self, reason: StartReason, address: Address | None, **fields: Any) -> None:
        """Begin the conversation's next session: what is added from now on belongs to it."""
        previous = self.session_id if self._generation else None
        self._generation += 1
        self._sequence = 0
        self.add(SessionStarted, reason=reason, address=address, previous=previous, **fields)

    def move(
        self, state: SessionState, status: SessionStatus, reason: str | None, *, own: str | None = None, **fields: Any
    ) -> None:
        """Move a session, which is in `state`, to a status, or to a state of the installation's own that has it."""
        handler = self.machine.handler_of(self.machine.state_of(state), own or status)
        told = {"previous_state": state.state, "state": own, "handler": handler, **fields}
        self.add(StateChanged, previous=state.status, status=status, reason=reason, **told)

    def close(self, state: SessionState, way: StateTransition, why: CloseReason, reason: str | None = None) -> None:
        """End the current session, which is in `state`."""
        # Whoever is told of it is told what it was; nobody else asks, unless that was a state of the installation's.
        previous = self.machine.state_of(state) if way.handler else state.state
        self.add(SessionClosed, why=why, previous_state=previous, handler=way.handler, reason=reason)
