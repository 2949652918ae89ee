"""The state machine of sessions, as an installation may set it: states of its own, ways between states, their guards.

A way is taken because somebody asks for it. Some changes come by themselves, whatever the machine says: silence makes
an active session idle and activity wakes it, a live one expires when its time is over, one that has ended goes to the
archive and comes back from there, and any may be deleted.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from agentbus.contracts.address import Platform
from agentbus.contracts.base import MAX_DATA_BYTES, Contract, Id, JsonObject, Many, Name, check_size
from agentbus.contracts.profile import Seconds, SessionType
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.contracts.tracking import StateTransitionType

StateName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
"""A state: a status of ours, or a word of the installation's own in small letters, digits and underscores."""

HandlerName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
"""A handler of transitions; a part of its subscription's name."""

_S = SessionStatus
_OURS: Final = frozenset(status.value for status in SessionStatus)
_KEPT: Final = (_S.ACTIVE, _S.SUSPENDED, _S.EXPIRED, _S.CLOSED)
_FINAL: Final = frozenset({_S.ARCHIVED.value, _S.DELETED.value})


class ChangedBy(StrEnum):
    """Who asks for a change of state."""

    OWNER = "owner"
    """The user whose session it is."""
    OTHERS = "others"
    """A user it is shared with."""
    APPLICATION = "application"
    """Whoever works with sessions on no user's behalf: a program, an operator, an expiry rule."""


def _of_ones_own(status: SessionStatus) -> SessionStatus:
    if status not in _KEPT:
        raise ValueError(f"a state of one's own has one of the statuses {', '.join(_KEPT)}")
    return status


class OwnState(Contract):
    """A state of the installation's own, and the status that a session has in it: expiry, sync and lists go by that.

    A session in one of `active` is idle while it is silent, and active again once something happens, in the same state.
    """

    name: StateName
    status: Annotated[SessionStatus, AfterValidator(_of_ones_own)]


class TransitionGuard(Contract):
    """What has to be so for a way to be open; all of it."""

    by: Many[ChangedBy] = Field(default=(), description="Who may ask. None given: whoever may change the session.")
    types: Many[StateTransitionType] = Field(default=(), description="Why it may be asked. None given: for any reason.")
    min_age: Seconds | None = Field(default=None, description="Seconds since the session began, at least.")
    min_messages: int | None = Field(default=None, ge=1)
    data: JsonObject = Field(default_factory=dict, description="Keys of the session's data, and what they must be.")
    present: Many[Name] = Field(default=(), description="Keys of the session's data that must be there.")
    platforms: Many[Platform] = Field(default=(), description="None given: sessions of every platform.")
    session_types: Many[SessionType] = ()
    agent_ids: Many[Id] = ()
    tags: Many[Name] = Field(default=(), description="Tags that it must have, all of them.")


def _as_many(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class StateTransition(Contract):
    """A way from some states to another one. Of several between the same two one that is open is enough.

    A silent session goes the ways of `active`.
    """

    sources: Annotated[Many[StateName], BeforeValidator(_as_many), Field(min_length=1, max_length=64)]
    target: StateName
    guard: TransitionGuard | None = None
    handler: HandlerName | None = Field(default=None, description="The registered handler that is told, once taken.")


class StateMachine(Contract):
    """The states of an installation's own, and all ways that may be asked for. No way leads back to life."""

    states: Annotated[Many[OwnState], Field(max_length=64)] = ()
    transitions: Annotated[Many[StateTransition], Field(max_length=512)] = ()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        check_size(self.model_dump(mode="json", exclude_defaults=True), MAX_DATA_BYTES)
        names = [state.name for state in self.states]
        if wrong := sorted({name for name in names if name in _OURS or names.count(name) > 1}):
            raise ValueError(f"a state of this name is there already: {', '.join(wrong)}")
        for way in self.transitions:
            for source in way.sources:
                self._check(source, way.target)
        return self

    def _check(self, source: str, target: str) -> None:
        if unknown := sorted({source, target} - self.statuses.keys()):
            raise ValueError(f"there is no state {', '.join(unknown)}: the states are {', '.join(self.statuses)}")
        between = f"from {source} to {target}"
        if source == target:
            raise ValueError(f"the way {between} changes nothing")
        if target == _S.DELETED or source in _FINAL:
            raise ValueError(f"the way {between} can't be asked for: to delete and to restore are other calls")
        if self.statuses[target].is_live and not self.statuses[source].is_live:
            raise ValueError(f"the way {between} leads back to life: a conversation goes on in its next session")

    @cached_property
    def statuses(self) -> Mapping[str, SessionStatus]:
        """The status of each state, ours first."""
        return {status.value: status for status in SessionStatus} | {one.name: one.status for one in self.states}

    @cached_property
    def ways(self) -> Mapping[tuple[str, str], tuple[StateTransition, ...]]:
        """The ways between two states."""
        found: dict[tuple[str, str], list[StateTransition]] = {}
        for way in self.transitions:
            for source in _with_silent(way.sources, way.target):
                found.setdefault((source, way.target), []).append(way)
        return {pair: tuple(ways) for pair, ways in found.items()}

    def state_of(self, state: SessionState) -> str:
        """Return the state that a session is in: its own, unless the machine has it no more; then its status."""
        own = state.state
        return own if own is not None and own in self.statuses else state.status.value

    def leads_from(self, source: str) -> list[str]:
        """Return the states that a way leads to from there."""
        return sorted({target for begin, target in self.ways if begin == source})

    def handler_of(self, source: str, target: str) -> str | None:
        """Return whom to tell of a change that came by itself: the first handler of a way between the two states."""
        return next((way.handler for way in self.ways.get((source, target), ()) if way.handler), None)


def by_itself(source: SessionStatus) -> frozenset[SessionStatus]:
    """Return the statuses that a session may come to from there without being asked to, but for being restored."""
    return _BY_ITSELF[source]


def _with_silent(sources: Iterable[str], target: str) -> set[str]:
    silent = {_S.IDLE.value} if _S.ACTIVE.value in sources and target != _S.IDLE else set[str]()
    return {*sources, *silent}


_BY_ITSELF: Final[Mapping[SessionStatus, frozenset[SessionStatus]]] = {
    _S.ACTIVE: frozenset({_S.IDLE, _S.EXPIRED, _S.DELETED}),
    _S.IDLE: frozenset({_S.ACTIVE, _S.EXPIRED, _S.DELETED}),
    _S.SUSPENDED: frozenset({_S.EXPIRED, _S.DELETED}),
    _S.EXPIRED: frozenset({_S.ARCHIVED, _S.DELETED}),
    _S.CLOSED: frozenset({_S.ARCHIVED, _S.DELETED}),
    _S.ARCHIVED: frozenset({_S.DELETED}),
    _S.DELETED: frozenset(),
}
