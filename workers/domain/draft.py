"""Collects the events that one input causes, numbering them as they come."""

from datetime import datetime
from typing import Any, TypeVar

from contracts.address import Address, Platform
from contracts.events import AnyEvent, CloseReason, SessionClosed, SessionStarted, StartReason
from contracts.ids import InputId, SessionId, session_id_for
from contracts.session import SessionState

E = TypeVar("E", bound=AnyEvent)


class Draft:
    """The events of one decision: each gets its session, its sequence, its moment and its cause."""

    __slots__ = ("_actor", "_cause", "_generation", "_platform", "_sequence", "_state", "at", "events")

    def __init__(
        self, state: SessionState, cause: InputId, at: datetime, address: Address | None, actor: str | None = None
    ) -> None:
        self._state = state
        self._cause = cause
        self._actor = actor
        self.at = at
        self._generation = state.generation
        self._sequence = state.sequence
        where = address or state.address
        self._platform: Platform | None = where.platform if where else None
        self.events: list[AnyEvent] = []

    @property
    def session_id(self) -> SessionId:
        """The session that the next event belongs to."""
        return session_id_for(self._state.conversation_id, self._generation)

    def add(self, kind: type[E], **fields: Any) -> None:
        """Add an event of the current session."""
        self._sequence += 1
        event = kind(
            session_id=self.session_id,
            sequence=self._sequence,
            at=self.at,
            cause=self._cause,
            platform=self._platform,
            **{"actor": self._actor, **fields},
        )
        self.events.append(event)

    def start(self, reason: StartReason, address: Address | None, **fields: Any) -> None:
        """Begin the conversation's next session: what is added from now on belongs to it."""
        previous = self.session_id if self._generation else None
        self._generation += 1
        self._sequence = 0
        self.add(SessionStarted, reason=reason, address=address, previous=previous, **fields)

    def close(self, why: CloseReason, reason: str | None = None) -> None:
        """End the current session."""
        self.add(SessionClosed, why=why, reason=reason)
