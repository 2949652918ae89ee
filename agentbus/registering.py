"""What is looked at when a handler is registered: a mistake is told there, not by an event that never comes."""

import inspect
from difflib import get_close_matches
from functools import partial
from typing import Any, Final

from agentbus.contracts.address import is_platform
from agentbus.contracts.errors import ConfigurationError
from agentbus.contracts.events import topics
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
