"""Which status may follow which."""

from collections.abc import Mapping
from typing import Final

from agentbus.contracts.errors import TransitionForbidden
from agentbus.contracts.session import SessionStatus

_S = SessionStatus

TRANSITIONS: Final[Mapping[SessionStatus, frozenset[SessionStatus]]] = {
    _S.ACTIVE: frozenset({_S.IDLE, _S.SUSPENDED, _S.EXPIRED, _S.ARCHIVED, _S.CLOSED}),
    _S.IDLE: frozenset({_S.ACTIVE, _S.SUSPENDED, _S.EXPIRED, _S.ARCHIVED, _S.CLOSED}),
    _S.SUSPENDED: frozenset({_S.ACTIVE, _S.IDLE, _S.EXPIRED, _S.ARCHIVED, _S.CLOSED}),
    _S.EXPIRED: frozenset({_S.ARCHIVED, _S.CLOSED}),
    _S.CLOSED: frozenset({_S.ARCHIVED}),
    _S.ARCHIVED: frozenset(),
    _S.DELETED: frozenset(),
}
"""No way leads back to life: a conversation goes on in its next session."""


def check_transition(current: SessionStatus, wanted: SessionStatus) -> None:
    """Raise TransitionForbidden unless a session may go from `current` to `wanted`."""
    if wanted not in TRANSITIONS[current]:
        allowed = ", ".join(sorted(TRANSITIONS[current])) or "none"
        raise TransitionForbidden(f"a session may not go from {current} to {wanted} (from {current}: {allowed})")
