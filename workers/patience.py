"""Waiting out what may pass: for which failures, for how long, and how the tries are spread."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from math import inf
from time import monotonic
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_random_exponential

from agentbus.workers.concurrency import still_wanted

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Which failures are waited out, for how long, and how the tries are spread.

    It ends by success, by the last failure, by one that does not pass, or by cancellation, also where a driver raises
    something in its place. What is called must be safe to repeat.
    """

    transient: tuple[type[Exception], ...]
    """What may pass by itself."""
    lasting: tuple[type[Exception], ...] = ()
    """Those of them that do not."""
    seconds: float | None = None
    """For how long it is tried from the beginning of the first try on; without, for as long as it takes.

    The last wait ends with them, and a last try follows: whoever says that it gave up after so long did.
    """
    attempts: int | None = None
    """How often it is tried in all; without, as often as it takes."""
    first_wait: float = 0.05
    """Seconds after the first try at most; twice as long after each further one."""
    longest_wait: float
    """Seconds between two tries at most; by chance less, so that not all come back together."""

    def may_pass(self, error: BaseException) -> bool:
        """Whether a failure is waited out."""
        return isinstance(error, self.transient) and not isinstance(error, self.lasting)

    def within(self, seconds: float) -> "Patience":
        """Return the same patience, for so many seconds at most."""
        return replace(self, seconds=seconds if self.seconds is None else min(seconds, self.seconds))

    async def call(
        self,
        call: Callable[[], Awaitable[Result]],
        *,
        waiting: Callable[[RetryCallState], None] | None = None,
        wanted: Callable[[], bool] = lambda: True,
    ) -> Result:
        """Make `call` until it succeeds, and return what it does. Raises what the last try failed with.

        `waiting` is told before each wait, `wanted` asked: what nobody wants any more is not tried again.
        """
        begun = monotonic()
        try:
            return await still_wanted(call())  # Almost always that is all; the policy costs more than most calls.
        except Exception as error:
            if not (self.may_pass(error) and wanted()):
                raise
            failed = error
        return await self.again(call, failed, waiting=waiting, wanted=wanted, begun=begun)

    async def again(
        self,
        call: Callable[[], Awaitable[Result]],
        failed: Exception,
        *,
        waiting: Callable[[RetryCallState], None] | None = None,
        wanted: Callable[[], bool] = lambda: True,
        begun: float | None = None,
    ) -> Result:
        """Go on as `call` does after the first try, which began at `begun` by `monotonic`, `failed`."""
        end = inf if self.seconds is None else (monotonic() if begun is None else begun) + self.seconds
        most = inf if self.attempts is None else self.attempts
        spread = wait_random_exponential(multiplier=self.first_wait, max=self.longest_wait)
        first: Exception | None = failed
        async for attempt in AsyncRetrying(
            retry=retry_if_exception(lambda error: self.may_pass(error) and wanted()),
            stop=lambda state: monotonic() >= end or state.attempt_number >= most,
            wait=lambda state: min(spread(state), max(0.0, end - monotonic())),
            before_sleep=waiting,
            reraise=True,
        ):
            with attempt:
                if first is not None:
                    error, first = first, None
                    raise error
                return await still_wanted(call())
        raise AssertionError("unreachable: the last failure is raised")
