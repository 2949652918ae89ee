"""A brake: a partition whose inputs fail one after the other, by no fault of theirs, is let alone for a while."""

from collections.abc import Callable
from time import monotonic
from typing import Final

from agentbus.contracts.errors import AgentBusError, InvalidInput, Refused, StoreDamaged

WINDOW: Final = 60.0
"""Seconds within which the failures of a row must come: what fails now and then is no row."""
FIRST_PAUSE: Final = 10.0
"""Seconds for which a partition is let alone the first time; doubled while that does not help."""
LONGEST_PAUSE: Final = 300.0


class Brake:
    """Counts what fails in a row on one partition, and says when to stop and for how long.

    What an input fails by because of what is in it, because the rules refuse it, or because its own conversation is
    damaged in the store, says nothing about the worker: any publisher could stop a partition by sending enough of that.
    Counted is what is left: faults of ours, and what the
    store refuses. One success, and the row is over; the pauses grow from `FIRST_PAUSE` to `LONGEST_PAUSE` seconds
    until there is one.
    """

    def __init__(self, limit: int, clock: Callable[[], float] = monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._failed_at: list[float] = []
        self._pause = FIRST_PAUSE

    def succeeded(self) -> None:
        """Note that an input was applied."""
        self._failed_at.clear()
        self._pause = FIRST_PAUSE

    def failed(self, error: AgentBusError) -> float | None:
        """Note that an input was parked; return for how many seconds to stop, if there were too many."""
        if isinstance(error, InvalidInput | Refused | StoreDamaged):
            return None
        now = self._clock()
        self._failed_at = [at for at in self._failed_at if at > now - WINDOW] + [now]
        if len(self._failed_at) < self._limit:
            return None
        self._failed_at.clear()
        pause, self._pause = self._pause, min(2 * self._pause, LONGEST_PAUSE)
        return pause
