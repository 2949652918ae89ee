"""The commit lag: how long it takes from an input's publishing to its commit, of late."""

from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Final

RECENT: Final = 10
"""Seconds that count as of late."""


class CommitLag:
    """The mean over the last seconds; a second is kept as a count and a sum, however much was committed in it."""

    def __init__(self, *, time: Callable[[], float] = monotonic) -> None:
        self._time = time
        self._noted: deque[tuple[int, int, float]] = deque(maxlen=RECENT + 1)
        """The second, how many were committed in it, and the sum of their seconds."""

    def note(self, seconds: float) -> None:
        """Note that an input was committed so many seconds after it says it was published."""
        now, count, total = int(self._time()), 0, 0.0
        if self._noted and self._noted[-1][0] == now:
            _, count, total = self._noted.pop()
        self._noted.append((now, count + 1, total + seconds))

    def mean(self) -> float | None:
        """Return the mean seconds of those of late; None if none was committed."""
        since = int(self._time()) - RECENT
        recent = [(count, total) for second, count, total in self._noted if second >= since]
        count = sum(one for one, _ in recent)
        return sum(total for _, total in recent) / count if count else None
