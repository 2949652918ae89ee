"""The one policy by which workers wait out a store or broker that fails for the moment."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, ParamSpec, TypeVar

from agentbus.contracts.errors import (
    BrokerBlocked,
    BrokerUnavailable,
    BusError,
    PublishUnconfirmed,
    ReplyTimeout,
    StoreDamaged,
    StoreError,
    StoreUnavailable,
)
from agentbus.workers.concurrency import still_wanted
from agentbus.workers.outages import Trouble
from agentbus.workers.patience import Patience

Result = TypeVar("Result")
Taken = ParamSpec("Taken")

OUTAGES: Final = Patience(transient=(StoreError, BusError), lasting=(StoreDamaged,), longest_wait=5.0)
"""While a worker runs, a refusal (a password that is being rotated, say) is waited out like an outage.

An input that was taken is not given up because of one.
"""

AWAY: Final = Patience(
    transient=(StoreUnavailable, BrokerUnavailable, BrokerBlocked, PublishUnconfirmed, ReplyTimeout), longest_wait=5.0
)
"""Of what somebody else's code fails with, that alone which is surely not its fault.

What refuses it may do so for ever. A command that is not answered waits behind others, and is carried out once; one
that ends its owner is parked in the end, and its sender is told.
"""


async def keep_trying(
    what: str, call: Callable[Taken, Awaitable[Result]], *args: Taken.args, **kwargs: Taken.kwargs
) -> Result:
    """Make `call` until store and broker let it succeed, and let the log say that `what` waits.

    It ends only by success, by cancellation, or by an error that waiting does not cure: what is damaged in the store,
    and all that is neither the store's nor the broker's. `call` must be safe to repeat.
    """
    return await _waited_out(OUTAGES, what, partial(call, *args, **kwargs))


async def while_away(
    what: str, call: Callable[Taken, Awaitable[Result]], *args: Taken.args, **kwargs: Taken.kwargs
) -> Result:
    """Make a call of somebody else's until neither store nor broker is away, as `keep_trying` does."""
    return await _waited_out(AWAY, what, partial(call, *args, **kwargs))


async def _waited_out(patience: Patience, what: str, call: Callable[[], Awaitable[Result]]) -> Result:
    try:
        return await still_wanted(call())
    except patience.transient as error:
        if not patience.may_pass(error):
            raise
        failed = error
    trouble = Trouble(what)
    try:
        return await patience.again(call, failed, waiting=trouble.retrying)
    finally:
        trouble.over()
