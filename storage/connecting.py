"""Getting to a store that may not be there yet."""

import time
from collections.abc import Awaitable, Callable

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_delay,
    wait_exponential,
    wait_random,
)

from agentbus.contracts.errors import StoreUnavailable
from agentbus.contracts.outages import Outage
from agentbus.contracts.telemetry import Action
from agentbus.storage.log_lines import Logger

_log = Logger(__name__)


async def connect_patiently(attempt: Callable[[], Awaitable[None]], *, target: str, timeout: float, hint: str) -> None:
    """Call `attempt` until it does not raise StoreUnavailable, for `timeout` seconds.

    Raises StoreUnavailable, naming `target` and ending in `hint`, if it never came; other errors at once.
    """
    deadline = time.monotonic() + timeout
    outage = Outage(time.monotonic)

    def waiting(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        left = round(max(0.0, deadline - time.monotonic()), 1)
        if outage.failed(target):
            _log.warning(Action.STORE_WAITING, url=target, seconds_left=left, error=str(error))

    try:
        async for step in AsyncRetrying(
            retry=retry_if_exception_type(StoreUnavailable),
            stop=stop_after_delay(timeout),
            wait=wait_exponential(multiplier=0.2, max=2.0) + wait_random(0, 0.2),
            before_sleep=waiting,
            reraise=True,
        ):
            with step:
                await attempt()
    except StoreUnavailable as error:
        raise StoreUnavailable(f"no answer from {target} in {timeout:g} s: {hint} (last error: {error})") from error
