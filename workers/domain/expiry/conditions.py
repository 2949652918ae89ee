"""Conditions of one's own: functions that rules of the strategy `custom` name."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from agentbus.contracts.base import to_utc_milliseconds
from agentbus.contracts.errors import ConfigurationError
from agentbus.contracts.session import SessionState

Condition = Callable[[SessionState], datetime | None]
"""Says since when, or from when on, it holds for a session; None: not as it is now.

It must be pure, the same answer for the same head, as it is asked again whenever the session is looked at.
"""

_conditions: Final[dict[str, Condition]] = {}


def register_condition(name: str, condition: Condition) -> None:
    """Make `condition` known under `name`, in this process: every expiry worker's has to.

    The same twice changes nothing. Raises ConfigurationError if the name is taken by another one.
    """
    if _conditions.setdefault(name, condition) is not condition:
        raise ConfigurationError(f"there is another condition {name!r} already: register this one under another name")


def condition_named(name: str) -> Condition:
    """Return the condition registered as `name`. Raises ConfigurationError if there is none."""
    try:
        return _conditions[name]
    except KeyError:
        known = ", ".join(sorted(_conditions)) or "none"
        raise ConfigurationError(
            f"no condition {name!r} is registered (registered: {known}): call register_condition({name!r}, function) "
            "in each expiry worker before it starts, or disable the rules that name it"
        ) from None


def custom_since(name: str, head: SessionState) -> datetime | None:
    """Ask the condition `name` about a session. Raises ConfigurationError if it is unknown or fails."""
    condition = condition_named(name)
    try:
        since = condition(head)
        if since is None:
            return None
        if since.tzinfo is None:
            raise ValueError("a moment without a time zone")
        return to_utc_milliseconds(since)
    except Exception as error:
        raise ConfigurationError(f"the condition {name!r} failed for session {head.session_id}: {error!r}") from error
