"""From the consumer's synchronous callback to an async handler: lanes side by side, each in its order."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from agentbus.contracts.telemetry import Action
from agentbus.storage.log_lines import Logger
from agentbus.workers.bus.port import Delivery
from agentbus.workers.bus.pump import GiveUp, survived, take_out
from agentbus.workers.concurrency import ended
from agentbus.workers.faults import told

LaneOf = Callable[[Delivery], str]
"""Names a delivery's lane. Called in the consumer's callback: quick, and must not raise."""

_SHOWN: Final = 5

_log = Logger(__name__)


class SideBySide:
    """Gives deliveries to a handler one by one: in their order within a lane, up to `most` lanes at a time.

    The handler acknowledges. What it raises ends nothing: `give_up` gets the delivery, as it does of a `Pump`.
    """

    def __init__(
        self, lane_of: LaneOf, handle: Callable[[Delivery], Awaitable[None]], give_up: GiveUp, *, most: int
    ) -> None:
        self._lane_of = lane_of
        self._handle = handle
        self._give_up = give_up
        self._most = most
        self._lanes: dict[str, deque[Delivery]] = {}
        self._ready: deque[str] = deque()
        self._busy: dict[asyncio.Task[None], Delivery] = {}
        self._running = False

    def push(self, delivery: Delivery) -> None:
        """Take a delivery: this is the consumer's callback."""
        name = self._lane_of(delivery)
        if name not in self._lanes:
            self._lanes[name] = deque()
            self._ready.append(name)
        self._lanes[name].append(delivery)
        self._begin()

    def forget(self) -> None:
        """Forget what has arrived and was not begun: it comes again, and then waits for what is in hand of its lane."""
        for name in self._ready:
            del self._lanes[name]
        self._ready.clear()
        for lane in self._lanes.values():
            lane.clear()

    async def start(self) -> None:
        """Begin to hand over."""
        self._running = True
        self._begin()

    async def drain(self, *, within: float) -> None:
        """Begin nothing more, and wait up to `within` seconds for what is in hand, saying so; the rest comes again."""
        self._running = False
        self.forget()
        if self._busy:
            waits_for = [delivery.message_id for delivery in list(self._busy.values())[:_SHOWN]]
            _log.warning(Action.HANDLERS_DRAINING, handlers=len(self._busy), waits_for=waits_for, seconds=within)
            await asyncio.wait(set(self._busy), timeout=within)

    async def close(self) -> None:
        """Stop, in the middle of a call if need be: what was not acknowledged is delivered again. Idempotent."""
        self._running = False
        self.forget()
        await ended(set(self._busy))

    def _begin(self) -> None:
        while self._running and self._ready and len(self._busy) < self._most:
            name = self._ready.popleft()
            delivery = self._lanes[name].popleft()
            task = asyncio.create_task(self._hand_over(delivery), name=f"handling {delivery.message_id}")
            self._busy[task] = delivery
            task.add_done_callback(partial(self._done, name))

    def _done(self, name: str, task: "asyncio.Task[None]") -> None:
        del self._busy[task]
        if self._lanes[name]:
            self._ready.append(name)
        else:
            del self._lanes[name]
        self._begin()

    async def _hand_over(self, delivery: Delivery) -> None:
        try:
            await self._handle(delivery)
        except (Exception, asyncio.CancelledError) as error:
            failure = survived(error)
            _log.error(Action.HANDLER_FAILED, message_id=delivery.message_id, **told(failure))
            if not delivery.settled:
                await take_out(self._give_up, delivery, failure)
