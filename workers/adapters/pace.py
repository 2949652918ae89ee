"""How many requests a second an account, or a visitor, may send."""

from collections.abc import Callable
from time import monotonic


class Pace:
    """A bucket of tokens: `rate` a second, and as many at once as two seconds bring."""

    def __init__(self, rate: float, clock: Callable[[], float] = monotonic) -> None:
        self._rate = rate
        self._most = max(1.0, 2 * rate)
        self._clock = clock
        self._tokens = self._most
        self._at = clock()

    def allows(self) -> bool:
        """Take a token, if there is one."""
        now = self._clock()
        self._tokens = min(self._most, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
