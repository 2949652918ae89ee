"""What is looked at when a handler is registered: a mistake is told there, not by an event that never comes."""

import inspect
from difflib import get_close_matches
from functools import partial
from typing import Any, Final

from agentbus.contracts.address import is_platform
from agentbus.contracts.base import MAX_INTEGER
from agentbus.contracts.errors import ConfigurationError
from agentbus.contracts.events import topics
from agentbus.contracts.ids import SessionId, is_session
from agentbus.contracts.session import SessionState
from agentbus.workers.bus.memory.topics import topic_matches

_WORDS: Final = 3
"""Words of a topic."""


def check_patterns(patterns: tuple[str, ...]) -> None:
    """Raise ConfigurationError unless each pattern matches some event's topic, `session.<what>.<platform>`."""
    if not patterns or not all(isinstance(pattern, str) for pattern in patterns):
        raise ConfigurationError("name the topics that a handler is for: @bus.on('session.message.*')")
    for pattern in patterns:
        if not _can_match(pattern):
            raise ConfigurationError(
                f"no event is ever announced on {pattern!r}: did you mean {_nearest(pattern)!r}? Topics are "
                f"session.<what>.<platform>, where <what> is one of {', '.join(topics())}"
            )


def check_beginning(
    session: SessionState | str | None, from_sequence: int | None, *, durable: str | None
) -> tuple[SessionId, int] | None:
    """Return which session is followed from which sequence on; None for none. Raises ConfigurationError."""
    if session is None and from_sequence is None:
        return None
    if session is None or from_sequence is None:
        raise ConfigurationError(
            "session= and from_sequence= go together: a sequence counts the events of one session; across sessions a "
            "durable subscription keeps what is missed"
        )
    if durable is not None:
        raise ConfigurationError("a durable subscription keeps what is missed by itself: it takes no from_sequence=")
    if type(from_sequence) is not int or not 1 <= from_sequence <= MAX_INTEGER:
        raise ConfigurationError(f"from_sequence is {from_sequence!r}: sequences are whole numbers from 1")
    name = session.session_id if isinstance(session, SessionState) else session
    if not is_session(name):
        raise ConfigurationError(f"{name!r} is no session's id")
    return SessionId(name), from_sequence


def check_handler(handler: object) -> None:
    """Raise ConfigurationError unless `handler` is an async function, or an object with an async `__call__`."""
    called: Any = handler
    while isinstance(called, partial):
        called = called.func
    if any(map(inspect.iscoroutinefunction, (called, type(called).__call__))):
        return
    name = getattr(called, "__qualname__", type(called).__qualname__)
    raise ConfigurationError(f"the handler {name} is not async: write `async def {name.rpartition('.')[2]}(event)`")


def _can_match(pattern: str) -> bool:
    platforms = {"none", *filter(is_platform, pattern.split("."))}
    return any(topic_matches(pattern, f"session.{what}.{platform}") for what in topics() for platform in platforms)


def _nearest(pattern: str) -> str:
    words = pattern.lower().split(".")
    ending = words[2] if len(words) == _WORDS and is_platform(words[2]) else "*"
    known = [f"session.{what}.{ending}" for what in topics()]
    return next(iter(get_close_matches(pattern.lower(), known, n=1, cutoff=0.5)), "session.#")
