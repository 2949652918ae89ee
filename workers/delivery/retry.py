"""The one policy by which workers wait out a store or broker that fails for the moment."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, ParamSpec, TypeVar

from agentbus.contracts.errors import BusError, StoreDamaged, StoreError
from agentbus.workers.concurrency import still_wanted
from agentbus.workers.outages import Trouble
from agentbus.workers.patience import Patience

Result = TypeVar("Result")
Taken = ParamSpec("Taken")

OUTAGES: Final = Patience(transient=(StoreError, BusError), lasting=(StoreDamaged,), longest_wait=5.0)
"""While a worker runs, a refusal (a password that is being rotated, say) is waited out like an outage.

An input that was taken is not given up because of one.
"""


async def keep_trying(
    what: str, call: Callable[Taken, Awaitable[Result]], *args: Taken.args, **kwargs: Taken.kwargs
) -> Result:
    """Make `call` until store and broker let it succeed, and let the log say that `what` waits.

    It ends only by success, by cancellation, or by an error that waiting does not cure: what is damaged in the store,
    and all that is neither the store's nor the broker's. `call` must be safe to repeat.
    """
    try:
        return await still_wanted(call(*args, **kwargs))
    except OUTAGES.transient as error:
        if not OUTAGES.may_pass(error):
            raise
        failed = error
    trouble = Trouble(what)
    try:
        return await OUTAGES.again(partial(call, *args, **kwargs), failed, waiting=trouble.retrying)
    finally:
        trouble.over()
