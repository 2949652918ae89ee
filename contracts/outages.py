"""Outages: what is said of something that does not answer, so that many failing calls are a few lines in the log."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

REMIND_SECONDS: Final = 60.0
"""While an outage lasts it is mentioned again after so many seconds."""


class Cause(StrEnum):
    """What does not answer."""

    STORE = "store"
    """The store."""
    BROKER = "broker"
    """The broker."""
    FAULT = "fault"
    """Nobody's outage: what came can't be read or handled by this release."""


class Stage(StrEnum):
    """How far an outage is."""

    BEGAN = "began"
    """Calls fail that did not before."""
    LASTS = "lasts"
    """They still do."""
    OVER = "over"
    """Each of those that failed has succeeded since, or was given up."""


@dataclass(frozen=True, kw_only=True)
class Notice:
    """What is to be said of an outage now."""

    stage: Stage
    seconds: float
    """Since it began."""
    failures: int
    """Calls that failed since."""


class Outage:
    """Turns failing calls into notices: one when it begins, one every `every` seconds, one when it is over.

    It lasts while any caller fails: one that succeeds does not end it for another. Outages that follow each other
    within `every` seconds of the first one's beginning are said once: flapping is no flood either.
    """

    def __init__(self, clock: Callable[[], float], *, every: float = REMIND_SECONDS) -> None:
        self._clock = clock
        self._every = every
        self._failing: set[Hashable] = set()
        self._since = 0.0
        self._failures = 0
        self._announced = False
        self._said_at: float | None = None

    @property
    def lasts(self) -> bool:
        """Whether a caller fails now."""
        return bool(self._failing)

    def failed(self, caller: Hashable) -> Notice | None:
        """Count a call that failed. `caller` stands for it until `ended`; returns what is to be said, if anything."""
        now = self._clock()
        if not self._failing:
            self._since, self._failures, self._announced = now, 0, False
        self._failing.add(caller)
        self._failures += 1
        if self._said_at is not None and now - self._said_at < self._every:
            return None
        self._said_at = now
        stage = Stage.LASTS if self._announced else Stage.BEGAN
        self._announced = True
        return self._notice(stage)

    def ended(self, caller: Hashable) -> Notice | None:
        """Say that a caller's call succeeded or was given up; returns what is to be said, if anything."""
        if caller not in self._failing:
            return None
        self._failing.discard(caller)
        return self._notice(Stage.OVER) if self._announced and not self._failing else None

    def _notice(self, stage: Stage) -> Notice:
        return Notice(stage=stage, seconds=round(self._clock() - self._since, 1), failures=self._failures)
