"""How often a notification is tried, and how long it waits between."""

from typing import Final

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt, wait_random_exponential

ATTEMPTS: Final = 5
"""Times that a notification is tried."""
LONGEST_WAIT: Final = 60.0
"""Seconds between two tries at most, whatever the receiver asks for."""


class NotYet(Exception):
    """It may work later; after `seconds`, if the receiver said so."""

    def __init__(self, reason: str, seconds: float | None = None) -> None:
        super().__init__(reason)
        self.seconds = seconds


def trying() -> AsyncRetrying:
    """Return the policy: `NotYet` is tried again, what is raised in the end is the last one."""
    return AsyncRetrying(
        retry=retry_if_exception_type(NotYet), stop=stop_after_attempt(ATTEMPTS), wait=_wait, reraise=True
    )


_jittered = wait_random_exponential(multiplier=0.5, max=LONGEST_WAIT)


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.seconds if isinstance(error, NotYet) else None
    return _jittered(state) if asked is None else min(asked, LONGEST_WAIT)
