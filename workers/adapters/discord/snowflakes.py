"""Discord's ids: each begins with when it was made. Source: https://discord.com/developers/docs/reference#snowflakes."""

from datetime import datetime, timedelta
from typing import Final

from agentbus.workers.adapters.parsing import milliseconds

_FIRST_DAY: Final = 1_420_070_400_000
_LONGEST: Final = 20
"""Digits of the highest number of 64 bits."""


def snowflake(known: object) -> int | None:
    """Return an id as a number; None for what is none."""
    if isinstance(known, str) and known.isascii() and known.isdecimal() and len(known) <= _LONGEST:
        return int(known)
    return None


def snowflake_time(known: str) -> datetime:
    """Return when an id was made. Raises ValueError or OverflowError for what is none."""
    return milliseconds((int(known) >> 22) + _FIRST_DAY)


def first_of(moment: datetime) -> int:
    """Return the number below all ids that are made from that moment on."""
    return max(0, int(moment.timestamp() * 1000) - _FIRST_DAY) << 22


def before(known: int, span: timedelta) -> int:
    """Return the number below all ids that were made less than that span before this one."""
    return max(0, known - (int(span.total_seconds() * 1000) << 22))
