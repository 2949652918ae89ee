"""The one policy by which workers wait out a store or broker that fails for the moment."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from tenacity import AsyncRetrying, retry_if_exception, wait_random_exponential

from contracts.errors import BusError, StoreDamaged, StoreError
from workers.concurrency import still_wanted
from workers.outages import Trouble

Result = TypeVar("Result")

TRANSIENT: Final = (StoreError, BusError)
"""While a worker runs, a refusal (a password that is being rotated, say) is waited out like an outage."""
LASTING: Final = (StoreDamaged,)
"""Those of them that are there for good: nobody waits for them."""

FIRST_WAIT: Final = 0.05
LONGEST_WAIT: Final = 5.0


async def keep_trying(what: str, call: Callable[[], Awaitable[Result]]) -> Result:
    """Make `call` until store and broker let it succeed, with jittered waits of up to `LONGEST_WAIT` seconds.

    It ends only by success, by cancellation, or by an error that waiting does not cure: what is damaged in the store,
    and all that is neither the store's nor the broker's. An input that was taken is not given up because of an outage.
    `call` must be safe to repeat.
    """
    try:
        # Almost always that is all, and setting up the policy costs more than most calls.
        return await still_wanted(call())
    except TRANSIENT as error:
        if not may_pass(error):
            raise
        trouble = Trouble(what)
        trouble.failed(error)
    try:
        return await _try_again(call, trouble)
    finally:
        trouble.over()


def may_pass(error: BaseException) -> bool:
    """Return whether an error of store or broker may pass by itself."""
    return isinstance(error, TRANSIENT) and not isinstance(error, LASTING)


async def _try_again(call: Callable[[], Awaitable[Result]], trouble: Trouble) -> Result:
    await asyncio.sleep(random.uniform(0, FIRST_WAIT))
    async for attempt in AsyncRetrying(
        retry=retry_if_exception(may_pass),
        wait=wait_random_exponential(multiplier=FIRST_WAIT, max=LONGEST_WAIT),
        before_sleep=trouble.retrying,
        reraise=True,
    ):
        with attempt:
            return await still_wanted(call())
    raise AssertionError("unreachable: the policy never stops by itself")
