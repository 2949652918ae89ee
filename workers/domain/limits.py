"""What an input must keep to, beyond its schema."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from pydantic import JsonValue

from contracts.base import json_size
from contracts.errors import FutureTimestamp, LimitExceeded
from contracts.messages import InboundMessage
from contracts.profile import Permission

CLOCK_TOLERANCE: Final = timedelta(minutes=5)
"""How far ahead of ours a platform's clock may be."""

MAX_SESSION_BYTES: Final = 1_048_576
"""The most that a session's data, and its metadata, may each add up to, in bytes of compact JSON (about)."""

MAX_SHARES: Final = 1000
"""The most users that a session may be shared with: as many as a profile holds."""


def check_sent_at(message: InboundMessage, now: datetime) -> None:
    """Raise FutureTimestamp if `message` was sent later than clocks may differ."""
    ahead = message.sent_at - now
    if ahead > CLOCK_TOLERANCE:
        raise FutureTimestamp(
            f"sent_at {message.sent_at.isoformat()} is {ahead} ahead of this worker's clock; "
            f"clocks may differ by {CLOCK_TOLERANCE}. Correct the sender's clock or the time zone, then replay."
        )


def check_size(what: str, values: Mapping[str, JsonValue]) -> None:
    """Raise LimitExceeded if a session's data or metadata would outgrow what a head may hold."""
    size = json_size(dict(values))
    if size > MAX_SESSION_BYTES:
        raise LimitExceeded(f"the session's {what} would be about {size} bytes, the limit is {MAX_SESSION_BYTES}")


def check_shares(shares: Mapping[str, Permission]) -> None:
    """Raise LimitExceeded if a session would be shared with more users than a profile holds."""
    if len(shares) > MAX_SHARES:
        raise LimitExceeded(f"the session is shared with {MAX_SHARES} users already, the limit")
