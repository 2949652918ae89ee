"""A subscription: events of some topics, handed one after the other to an async function."""

from collections.abc import Awaitable, Callable
from functools import partial
from traceback import format_exc
from typing import Final

import structlog
from tenacity import AsyncRetrying, stop_after_attempt, wait_random_exponential

from contracts.envelope import EventEnvelope
from contracts.errors import AgentBusError, InvalidInput, UnsupportedType
from contracts.telemetry import Action
from workers.bus.port import Bus, Delivery
from workers.bus.pump import Pump
from workers.bus.supervise import KeptConsumer
from workers.session.parking import park
from workers.session.plan import Failure

EventHandler = Callable[[EventEnvelope], Awaitable[None]]

HANDLER_ATTEMPTS: Final = 5
"""Times that a failing handler is given the same event."""

_log = structlog.get_logger(__name__)


class HandlerFailed(AgentBusError):
    """A subscriber's handler kept failing."""


class Subscription:
    """Events whose routing key matches one of `patterns`, acknowledged once the handler returned."""

    def __init__(
        self, bus: Bus, patterns: tuple[str, ...], handler: EventHandler, *, durable: str | None = None
    ) -> None:
        self._bus = bus
        self._handler = handler
        self._durable = durable
        self._pump = Pump(self._handle_batch)
        self._consumer = KeptConsumer(
            durable or ", ".join(patterns),
            partial(bus.subscribe, patterns, self._pump.push, durable=durable),
            on_lost=self._pump.forget,
        )
        self._started = False

    async def start(self) -> None:
        """Begin to handle events. Idempotent."""
        if not self._started:
            await self._consumer.start()
            await self._pump.start()
            self._started = True

    async def close(self) -> None:
        """End it; an event whose handler is under way comes again if the subscription is durable. Idempotent."""
        await self._consumer.close()
        await self._pump.close()
        self._started = False

    async def _handle_batch(self, batch: list[Delivery]) -> None:
        for delivery in batch:
            await self._handle(delivery)

    async def _handle(self, delivery: Delivery) -> None:
        try:
            event = EventEnvelope.from_bytes(delivery.body)
        except UnsupportedType as error:
            # Announced by a later release: subscribers pass over what they do not know.
            _log.info(Action.EVENT_UNKNOWN, message_id=delivery.message_id, error=str(error))
            await delivery.ack()
            return
        except InvalidInput as error:
            await self._give_up(delivery, Failure(error))
            return
        policy = AsyncRetrying(
            stop=stop_after_attempt(HANDLER_ATTEMPTS), wait=wait_random_exponential(multiplier=0.1, max=2), reraise=True
        )
        try:
            # Not `policy(handler)`: tenacity does not await what a callable object, or a plain function, returns.
            async for attempt in policy:
                with attempt:
                    await self._handler(event)
        except Exception as error:
            _log.exception(Action.HANDLER_FAILED, event_id=event.id, attempts=HANDLER_ATTEMPTS)
            await self._give_up(delivery, Failure(HandlerFailed(repr(error)), format_exc()))
        else:
            await delivery.ack()

    async def _give_up(self, delivery: Delivery, failure: Failure) -> None:
        """Park what a durable subscription can't handle; a live one's queue is gone when a replay would come."""
        if self._durable:
            await park(self._bus, delivery, failure)
        else:
            await delivery.ack()
