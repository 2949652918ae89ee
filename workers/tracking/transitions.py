"""Handlers of transitions: functions of one's own that are told when a session has taken a way that names them."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Final

from agentbus.contracts.errors import ConfigurationError
from agentbus.contracts.events import AnyEvent, SessionClosed, StateChanged
from agentbus.contracts.ids import SessionId
from agentbus.contracts.session import SessionStatus

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint, EntryPoints

ENTRY_POINTS: Final = "agentbus.transition_handlers"


@dataclass(frozen=True, slots=True, kw_only=True)
class TransitionTaken:
    """A session has taken a way of the state machine."""

    transition_id: str
    """The same at each time that it is told."""
    session_id: SessionId
    handler: str
    previous: str | None
    """The state before: one of the installation's own, or a status."""
    state: str
    status: SessionStatus
    """The status of that state."""
    reason: str | None
    actor: str | None
    """The user on whose behalf it was asked for."""
    at: datetime

    @classmethod
    def of(cls, event: AnyEvent) -> "TransitionTaken | None":
        """Return what an event tells; None if no handler is to be told."""
        if not isinstance(event, StateChanged | SessionClosed) or event.handler is None:
            return None
        previous, status, state = event.previous_state, SessionStatus.CLOSED, None
        if isinstance(event, StateChanged):
            previous, status, state = previous or event.previous.value, event.status, event.state
        return cls(
            transition_id=event.event_id,
            session_id=event.session_id,
            handler=event.handler,
            previous=previous,
            state=state or status.value,
            status=status,
            reason=event.reason,
            actor=event.actor,
            at=event.at,
        )


TransitionHandler = Callable[[TransitionTaken], Awaitable[None]]
"""Is told after the commit, at least once: what it does must be safe to repeat. If it raises it is told again a few
times, then the event is parked."""

_handlers: Final[dict[str, TransitionHandler]] = {}


def register_transition_handler(name: str, handler: TransitionHandler) -> None:
    """Have `handler` told of transitions whose way names it, by the tracking workers that start in this process later.

    The first that ever starts with it makes a subscription of its own: from then on nothing is missed, whoever is down.
    The same twice changes nothing. Raises ConfigurationError if the name is taken by another one.
    """
    if _handlers.setdefault(name, handler) is not handler:
        raise ConfigurationError(f"there is another handler {name!r} already: register this one under another name")


def transition_handlers() -> Mapping[str, TransitionHandler]:
    """Return the handlers that this process has: those registered, and those of installed packages, by entry points.

    Those of packages are what was installed when a process first asked. Raises ConfigurationError for one that can't be
    imported.
    """
    found = {one.name: _loaded(one) for one in _installed()}
    return {**found, **_handlers}


@cache
def _installed() -> "EntryPoints":
    """Return the entry points of installed packages: to look through all of them takes 15 ms."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - for who runs a tracking worker

    return entry_points(group=ENTRY_POINTS)


def _loaded(entry: "EntryPoint") -> TransitionHandler:
    try:
        handler: TransitionHandler = entry.load()
    except Exception as error:  # whatever a package of somebody else's raises
        raise ConfigurationError(f"the transition handler {entry.name!r} can't be imported: {error!r}") from error
    return handler
