"""Which state may follow which: the machine that holds where an installation has none of its own, and asking one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from agentbus.contracts.base import same_json
from agentbus.contracts.commands import AnyCommand, ChangeState
from agentbus.contracts.errors import TransitionForbidden
from agentbus.contracts.machine import ChangedBy, StateMachine, StateTransition, TransitionGuard
from agentbus.contracts.messages import InboundMessage
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.contracts.tracking import StateTransitionType

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
"""The ways of the default machine. None leads back to life: a conversation goes on in its next session."""

DEFAULT: Final = StateMachine.model_construct(
    transitions=tuple(
        StateTransition.model_construct(sources=(source.value,), target=target.value)
        for source, targets in TRANSITIONS.items()
        for target in sorted(targets)
    )
)
"""What holds where nothing is configured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How a change of state is asked for."""

    now: datetime
    type: StateTransitionType
    actor: str | None = None
    """The user on whose behalf; None: on nobody's."""


def way_to(machine: StateMachine, state: SessionState, target: str, asked: Asked) -> StateTransition:
    """Return the way that a session takes to another state. Raises TransitionForbidden, saying what is allowed."""
    current = machine.state_of(state)
    if target not in machine.statuses:
        raise TransitionForbidden(f"there is no state {target}: the states are {', '.join(machine.statuses)}")
    ways = machine.ways.get((current, target), ())
    if not ways:
        allowed = ", ".join(machine.leads_from(current)) or "none"
        raise TransitionForbidden(f"a session may not go from {current} to {target} (from {current}: {allowed})")
    reasons: list[str] = []
    for way in ways:
        unmet = tuple(_unmet(way.guard, state, asked)) if way.guard else ()
        if not unmet:
            return way
        reasons.append(" and ".join(unmet))
    raise TransitionForbidden(f"a session goes from {current} to {target} only if {', or '.join(reasons)}")


def is_open(machine: StateMachine, state: SessionState, target: str, asked: Asked) -> StateTransition | None:
    """Return the way that a session can take to another state; None if there is none."""
    try:
        return way_to(machine, state, target, asked)
    except TransitionForbidden:
        return None


def with_status(data: InboundMessage | AnyCommand, machine: StateMachine) -> InboundMessage | AnyCommand:
    """Return a command that names a state of the installation's own with its status too; all else as it is.

    A name that the machine does not have is left alone: it is refused once it is known who asks.
    """
    if not isinstance(data, ChangeState) or data.state is None:
        return data
    return data.model_copy(update={"status": machine.statuses.get(data.state)})


def _unmet(guard: TransitionGuard, state: SessionState, asked: Asked) -> Iterator[str]:
    """Yield what a guard asks for and is not so, in words that tell nothing of what the session holds."""
    profile, platform = state.profile, state.address.platform if state.address else None
    if guard.by and _who(state, asked) not in guard.by:
        yield f"asked by {_any_of(guard.by)}"
    if guard.types and asked.type not in guard.types:
        yield f"it is {_any_of(guard.types)}"
    if guard.min_age is not None and (asked.now - (state.created_at or asked.now)).total_seconds() < guard.min_age:
        yield f"it began {guard.min_age:g} s ago"
    if guard.min_messages is not None and state.message_count < guard.min_messages:
        yield f"it has {guard.min_messages} messages"
    for key, value in guard.data.items():
        if key not in state.data or not same_json(state.data[key], value):
            yield f"its data has {key} as the machine says"
    if missing := sorted(set(guard.present) - state.data.keys()):
        yield f"its data has {', '.join(missing)}"
    if guard.platforms and platform not in guard.platforms:
        yield f"it is on {_any_of(guard.platforms)}"
    if guard.session_types and profile.session_type not in guard.session_types:
        yield f"it is {_any_of(guard.session_types)}"
    if guard.agent_ids and profile.agent_id not in guard.agent_ids:
        yield f"it is with {_any_of(guard.agent_ids)}"
    if missing := sorted(set(guard.tags) - set(profile.tags)):
        yield f"it has the tags {', '.join(missing)}"


def _who(state: SessionState, asked: Asked) -> ChangedBy:
    if asked.actor is None:
        return ChangedBy.APPLICATION
    return ChangedBy.OWNER if asked.actor == state.profile.owner else ChangedBy.OTHERS


def _any_of(words: tuple[str, ...]) -> str:
    return " or ".join(words)
