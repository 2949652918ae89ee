"""What an input must keep to, beyond its schema."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

from pydantic import JsonValue

from agentbus.contracts.base import json_size, key_size
from agentbus.contracts.errors import FutureTimestamp, LimitExceeded
from agentbus.contracts.messages import InboundMessage
from agentbus.contracts.profile import MAX_TAGS, Permission
from agentbus.contracts.sync import Conflict, Entry

CLOCK_TOLERANCE: Final = timedelta(minutes=5)
"""How far ahead of ours a platform's clock may be."""

MAX_SESSION_BYTES: Final = 1_048_576
"""The most that a session's data, and its metadata, may each add up to, in bytes of compact JSON (about)."""

MAX_FIELD_LENGTH: Final = 4096
"""The longest pointer to a field, in characters: its key with those of the objects around it."""

MAX_STAMP_BYTES: Final = 2 * 1_048_576
"""The most that the stamps of a session's fields may add up to, with the fields' pointers, in bytes (about): a head is
read and written whole."""

MAX_CONFLICTS: Final = 1000
"""The most conflicts that may be open in a session."""

_STAMP_BYTES: Final = 64

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
    try:
        size = json_size(dict(values))
    except ValueError as error:
        raise LimitExceeded(f"the session's {what} could not be kept: {error}") from None
    if size > MAX_SESSION_BYTES:
        raise LimitExceeded(f"the session's {what} would be about {size} bytes, the limit is {MAX_SESSION_BYTES}")


def check_fields(fields: Collection[str]) -> None:
    """Raise LimitExceeded if a session's data and metadata would have too many fields, or too deep a one."""
    if any(len(field) > MAX_FIELD_LENGTH for field in fields):
        raise LimitExceeded(f"a field's key with those around it would have more than {MAX_FIELD_LENGTH} characters")
    size = sum(key_size(field) + _STAMP_BYTES for field in fields)
    if size > MAX_STAMP_BYTES:
        raise LimitExceeded(f"the session would have {len(fields)} fields, more than can be told apart by their stamps")


def check_conflicts(conflicts: Collection[Conflict]) -> None:
    """Raise LimitExceeded if more conflicts would be open than a head may hold."""
    size = sum(json_size(entry.value) for one in conflicts for entry in _values(one))
    if len(conflicts) > MAX_CONFLICTS or size > MAX_SESSION_BYTES:
        raise LimitExceeded(f"{len(conflicts)} conflicts would be open, of about {size} bytes: resolve some first")


def _values(conflict: Conflict) -> Iterable[Entry]:
    return (conflict.offered,) if conflict.held is None else (conflict.offered, conflict.held)


def check_tags(tags: Collection[str]) -> None:
    """Raise LimitExceeded if a session would have more tags than a profile holds."""
    if len(tags) > MAX_TAGS:
        raise LimitExceeded(f"the session would have {len(tags)} tags, the limit is {MAX_TAGS}")


def check_shares(shares: Mapping[str, Permission]) -> None:
    """Raise LimitExceeded if a session would be shared with more users than a profile holds."""
    if len(shares) > MAX_SHARES:
        raise LimitExceeded(f"the session is shared with {MAX_SHARES} users already, the limit")
