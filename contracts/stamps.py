"""Hybrid logical clocks: when a field was written, comparable between sessions whose workers' clocks differ.

Within a session the order is that of its events. Between sessions a stamp orders: the physical part is the worker's
clock and never the channel's, the counter tells apart what happened in one millisecond, and a session's next stamp is
always later than every stamp it has seen, whatever its worker's clock says. So a stamp of a clock that was wrong is one
like any other: what answers to it is later.
Source: Kulkarni, Demirbas, Madappa, Avva, Leone, "Logical Physical Clocks", OPODIS 2014.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, NewType

from pydantic import StringConstraints

from agentbus.contracts.address import NO_PLATFORM
from agentbus.contracts.ids import ConversationId

Stamp = NewType("Stamp", str)
"""`<ms since 1970, 15 digits>.<counter, 6 digits>.<platform>.<conversation>`: as text it sorts as in time."""

StampField = Annotated[Stamp, StringConstraints(pattern=r"^[0-9]{15}\.[0-9]{6}\.[a-z][a-z0-9_-]*\.[a-z2-7]{26}$")]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
_MOST: Final = 999_999


def next_stamp(latest: Stamp | None, at: datetime, platform: str | None, conversation: ConversationId) -> Stamp:
    """Return a stamp later than `latest`: at the moment `at`, or just after `latest` where the clock is behind it."""
    ms, count = max(0, (at - _EPOCH) // _MS), 0
    if latest is not None and milliseconds_of(latest) >= ms:
        ms, count = milliseconds_of(latest), int(latest[16:22]) + 1
        if count > _MOST:
            ms, count = ms + 1, 0
    return Stamp(f"{ms:015d}.{count:06d}.{platform or NO_PLATFORM}.{conversation}")


def milliseconds_of(stamp: Stamp) -> int:
    """Return a stamp's physical part, in ms since 1970."""
    return int(stamp[:15])


def platform_of(stamp: Stamp) -> str:
    """Return the platform of the session that wrote, or `none`."""
    return stamp.split(".")[2]


def origin_of(stamp: Stamp) -> ConversationId:
    """Return the conversation that wrote."""
    return ConversationId(stamp.rpartition(".")[2])
