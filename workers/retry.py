"""The one policy by which workers wait out a store or broker that fails for the moment."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from contracts.errors import BusError, StoreError
from workers.endings import still_wanted
from workers.outages import Trouble

Result = TypeVar("Result")

TRANSIENT: Final = (StoreError, BusError)
"""While a worker runs, a refusal (a password that is being rotated, say) is waited out like an outage."""

FIRST_WAIT: Final = 0.05
LONGEST_WAIT: Final = 5.0


async def keep_trying(what: str, call: Callable[[], Awaitable[Result]]) -> Result:
    """Make `call` until store and broker let it succeed, with jittered waits of up to `LONGEST_WAIT` seconds.

    It ends only by success, by cancellation, or by an error that is neither the store's nor the broker's: an input
    that was taken is not given up because of an outage. `call` must be safe to repeat.
    """
    try:
        # Almost always that is all, and setting up the policy costs more than most calls.
        return await still_wanted(call())
    except TRANSIENT as error:
        trouble = Trouble(what)
        trouble.failed(error)
    try:
        return await _try_again(call, trouble)
    finally:
        trouble.over()


async def _try_again(call: Callable[[], Awaitable[Result]], trouble: Trouble) -> Result:
    await asyncio.sleep(random.uniform(0, FIRST_WAIT))
    async for attempt in AsyncRetrying(
        retry=retry_if_exception_type(TRANSIENT),
        wait=wait_random_exponential(multiplier=FIRST_WAIT, max=LONGEST_WAIT),
        before_sleep=trouble.retrying,
        reraise=True,
    ):
        with attempt:
            return await still_wanted(call())
    raise AssertionError("unreachable: the policy never stops by itself")
