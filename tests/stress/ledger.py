"""Where everything seen is written down: how long each call took, and what was broken."""

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

_KEPT: Final = 200
_AFTERMATH: Final = 2.0


@dataclass(frozen=True, slots=True)
class Timed:
    """A call that came to its end."""

    kind: str
    start: float
    end: float
    answer: str
    """`done`, or the error that it ended with."""
    retries: int

    @property
    def seconds(self) -> float:
        """How long its caller waited, repeats included."""
        return self.end - self.start


@dataclass
class Ledger:
    """All calls, and all that should not have been."""

    calls: list[Timed] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    breaches: Counter[str] = field(default_factory=Counter)
    """How often each rule was broken."""
    killed_at: float | None = None
    revived_at: float | None = None

    @staticmethod
    def now() -> float:
        """Return the time by the clock that all times here are of, in seconds."""
        return time.monotonic()

    def breach(self, rule: str, what: str) -> None:
        """Write down that `rule` was broken, and how."""
        self.breaches[rule] += 1
        if len(self.broken) < _KEPT:
            self.broken.append(f"{rule}: {what}")

    def over_the_kill(self) -> list[Timed]:
        """Return the calls that were under way between the kill and shortly after the worker's return."""
        if self.killed_at is None:
            return []
        until = (self.revived_at or self.killed_at) + _AFTERMATH
        return [one for one in self.calls if one.end >= self.killed_at and one.start <= until]
