"""From the consumer's synchronous callback to an async handler, in order."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from agentbus.contracts.telemetry import Action
from agentbus.storage.log_lines import Logger
from agentbus.workers.bus.port import Delivery
from agentbus.workers.concurrency import ended, raise_if_cancelled
from agentbus.workers.faults import told

BatchHandler = Callable[[list[Delivery]], Awaitable[None]]
"""Handles what has arrived, in order, and acknowledges it."""

GiveUp = Callable[[Delivery, Exception], Awaitable[None]]
"""Takes a delivery that its handler failed with out of the flow, and acknowledges it."""

_log = Logger(__name__)


class Pump:
    """Gives deliveries to one handler, in order: all that has arrived when the handler is free, `most` at a time.

    It waits for others only where it is to `linger`, for that many seconds, unless there are enough.
    It survives whatever a handler raises. What a failed call left unacknowledged is handled one by one, and `give_up`
    gets what fails even so; if that fails too the delivery is left: it comes again with the next consumer.
    """

    def __init__(self, handle: BatchHandler, give_up: GiveUp, *, most: int = 100, linger: float = 0.0) -> None:
        self._handle = handle
        self._give_up = give_up
        self._most = most
        self._linger = linger
        self._arrived: deque[Delivery] = deque()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def push(self, delivery: Delivery) -> None:
        """Take a delivery: this is the consumer's callback."""
        self._arrived.append(delivery)
        self._wake.set()

    def forget(self) -> None:
        """Forget what has arrived and was not begun: its consumer is gone, it is delivered again."""
        self._arrived.clear()

    @property
    def running(self) -> bool:
        """Whether it hands over what arrives."""
        return self._task is not None and not self._task.done()

    async def start(self) -> None:
        """Begin to hand over."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop, in the middle of a batch if need be: what was not acknowledged is delivered again. Idempotent."""
        await ended({self._task} if self._task else ())

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            if self._linger and len(self._arrived) < self._most:
                await asyncio.sleep(self._linger)
            batch = [self._arrived.popleft() for _ in range(min(self._most, len(self._arrived)))]
            if not self._arrived:
                self._wake.clear()
            if batch:
                await self._hand_over(batch)

    async def _hand_over(self, batch: list[Delivery]) -> None:
        try:
            await self._handle(batch)
        except (Exception, asyncio.CancelledError) as error:
            failure = survived(error)
            _log.error(Action.HANDLER_FAILED, deliveries=len(batch), **told(failure))
            left = [delivery for delivery in batch if not delivery.settled]
            if len(batch) > 1:
                for delivery in left:
                    await self._hand_over([delivery])
            elif left:
                await take_out(self._give_up, left[0], failure)


async def take_out(give_up: GiveUp, delivery: Delivery, failure: Exception) -> None:
    """Let `give_up` have a delivery that its handler failed with; say that it is left if that fails as well."""
    try:
        await give_up(delivery, failure)
    except (Exception, asyncio.CancelledError) as error:
        lost = told(survived(error))
        _log.error(Action.DELIVERY_LEFT, queue=delivery.queue, message_id=delivery.message_id, **lost)


def survived(error: Exception | asyncio.CancelledError) -> Exception:
    """Return what a handler raised as an error to go on after; a cancellation that is meant for us is raised again."""
    raise_if_cancelled()
    if isinstance(error, Exception):
        return error
    return RuntimeError("the handler was cancelled from inside").with_traceback(error.__traceback__)
