"""Moving what a queue holds to other queues, in its order."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from agentbus.contracts.errors import BusError
from agentbus.workers.bus.port import Bus, Delivery, Message
from agentbus.workers.delivery.failures import failure_of
from agentbus.workers.delivery.parking import Failed, park_all
from agentbus.workers.patience import Patience

_PREFETCH: Final = 200
_PATIENCE: Final = 5.0
"""Seconds without a delivery after which the queue is looked at again."""
_UNCONFIRMED: Final = Patience(transient=(BusError,), seconds=30.0, longest_wait=2.0)
"""For a publish that is not confirmed."""

Route = Callable[[Delivery], tuple[str, Message]]
"""Says which queue a delivery goes to, and as what. What it raises parks the delivery."""


@dataclass(frozen=True, slots=True)
class _Moving:
    delivery: Delivery
    queue: str
    message: Message


class Transfer:
    """Publishes each message with confirm, then acknowledges it: interrupted in between, it is there twice in a row.

    Inputs carry their id, so that what comes twice is applied once.
    """

    def __init__(self, bus: Bus, source: str, route: Route) -> None:
        self._bus = bus
        self._source = source
        self._route = route
        self._arrived: deque[Delivery] = deque()
        self._wake = asyncio.Event()

    async def run(self) -> int:
        """Move until nothing is left, and return how many there were. Nobody else may consume the queue.

        Raises BusError; the same call goes on where this one ended.
        """
        moved = 0
        while ready := (await self._bus.depth(self._source)).ready:
            moved += await self._move(ready)
        return moved

    async def _move(self, most: int) -> int:
        self._arrived.clear()
        consumer = await self._bus.consume(self._source, self._push, prefetch=_PREFETCH)
        try:
            moved = 0
            while moved < most and await self._has_some():
                moved += await self._pass_on([self._arrived.popleft() for _ in range(len(self._arrived))])
            return moved
        finally:
            await consumer.close()

    def _push(self, delivery: Delivery) -> None:
        self._arrived.append(delivery)
        self._wake.set()

    async def _has_some(self) -> bool:
        self._wake.clear()
        if self._arrived:
            return True
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True

    async def _pass_on(self, batch: list[Delivery]) -> int:
        left: list[_Moving] = []
        bad: list[Failed] = []
        for delivery in batch:
            try:
                left.append(_Moving(delivery, *self._route(delivery)))
            except Exception as error:  # whatever it is: one that can't be read must not be in the way of the others
                bad.append(Failed(delivery, failure_of(error)))
        await _UNCONFIRMED.call(partial(self._publish, left))
        await park_all(self._bus, bad)
        return len(batch)

    async def _publish(self, left: list[_Moving]) -> None:
        outcomes = await self._bus.publish_many("", [(one.queue, one.message) for one in left])
        again = [one for one, error in zip(left, outcomes, strict=True) if error]
        for one, error in zip(left, outcomes, strict=True):
            if error is None:
                await one.delivery.ack()
        left[:] = again
        for error in outcomes:
            if error:
                raise error
