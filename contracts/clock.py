"""Time, injected: whoever needs the time of day is given a clock."""

from datetime import UTC, datetime, timedelta
from typing import Protocol

from agentbus.contracts.base import to_utc_milliseconds


class Clock(Protocol):
    """Tells the time of day."""

    def now(self) -> datetime:
        """Return the present moment in UTC with millisecond precision."""
        ...


class SystemClock:
    """The clock of this machine."""

    def now(self) -> datetime:
        return to_utc_milliseconds(datetime.now(UTC))


class ManualClock:
    """A clock that stands still until it is moved: for tests and simulations."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = to_utc_milliseconds(start)

    def now(self) -> datetime:
        return self._now

    def advance(self, step: timedelta) -> None:
        """Move the clock on by `step`."""
        self._now = to_utc_milliseconds(self._now + step)
