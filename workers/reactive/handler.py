"""What becomes of a delivered event: handled and acknowledged, passed over, or parked; however it was delivered."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from functools import partial
from time import monotonic
from traceback import format_exc
from typing import Final

from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.errors import AgentBusError, InvalidInput, Reject, UnsupportedType
from agentbus.contracts.telemetry import Action
from agentbus.contracts.writing import is_writing
from agentbus.storage.log_lines import Logger
from agentbus.workers.bus.port import Bus, Delivery
from agentbus.workers.bus.pump import survived
from agentbus.workers.concurrency import raise_if_cancelled
from agentbus.workers.delivery.failures import Failure
from agentbus.workers.delivery.parking import park
from agentbus.workers.delivery.retry import keep_trying
from agentbus.workers.delivery.telemetry import WorkerMetrics
from agentbus.workers.delivery.trace_contexts import traces
from agentbus.workers.faults import told
from agentbus.workers.outages import sparingly
from agentbus.workers.patience import Patience

HANDLER_ATTEMPTS: Final = 5
"""Times that a failing handler is given the same event."""

FAILING: Final = Patience(
    transient=(Exception,), lasting=(Reject,), attempts=HANDLER_ATTEMPTS, first_wait=0.1, longest_wait=2.0
)
"""For a handler that fails."""

EventHandler = Callable[[EventEnvelope], Awaitable[None]]
GiveUp = Callable[[Delivery, Failure], Awaitable[None]]
"""Takes a delivery that can't be handled out of the flow, and acknowledges it."""

_log = Logger(__name__)


class HandlerFailed(AgentBusError):
    """A subscriber's handler kept failing."""


class Handler(ABC):
    """What a reactive worker does with events. They come at least once, in any order, several at a time."""

    @abstractmethod
    async def handle(self, event: EventEnvelope) -> None:
        """Handle one event; it is acknowledged when this returns. The same event again must change nothing.

        StoreError and BusError are waited out, Reject parks the event at once, anything else is tried
        `HANDLER_ATTEMPTS` times first.
        """


async def react(bus: Bus, handler: Handler, delivery: Delivery, metrics: WorkerMetrics | None = None) -> None:
    """Hand a delivery to a reactive worker's handler, waiting out store and broker.

    What fails for good is parked. It is counted in the `metrics`, if there are some.
    """
    begun = monotonic()

    async def handle(event: EventEnvelope) -> None:
        await keep_trying("handle an event", handler.handle, event)

    async def give_up(delivery: Delivery, failure: Failure) -> None:
        if metrics:
            metrics.handler_failures.inc()
        await park(bus, delivery, failure)

    if metrics:
        metrics.consumed.labels("rabbitmq", "process", "events").inc()
    await hand_over(delivery, handle, give_up, where=bus.topology.events)
    if metrics:
        metrics.process_seconds.labels("rabbitmq", "process", "events").observe(monotonic() - begun)


async def hand_over(delivery: Delivery, handler: EventHandler, give_up: GiveUp, *, where: str) -> None:
    """Give a delivery's event to `handler`, a few times if it fails; acknowledge it, or let `give_up` do so.

    `where` it was published.
    """
    if is_writing(delivery.body):  # no event: for those who show replies while they are being written
        await delivery.ack()
        return
    try:
        event = EventEnvelope.from_bytes(delivery.body)
    except UnsupportedType as error:
        # Announced by a later release: subscribers pass over what they do not know.
        if (more := sparingly(Action.EVENT_UNKNOWN)) is not None:
            _log.info(Action.EVENT_UNKNOWN, message_id=delivery.message_id, error=str(error), **more)
        await delivery.ack()
        return
    except InvalidInput as error:
        await give_up(delivery, Failure(error))
        return
    with traces().handling(where, event):
        if (failure := await given(event, handler)) is None:
            await delivery.ack()
        else:
            await give_up(delivery, failure)


async def given(event: EventEnvelope, handler: EventHandler) -> Failure | None:
    """Give an event to `handler`, a few times if it fails; return None, or what it kept failing with, saying so."""
    try:
        await FAILING.call(partial(_call, handler, event))
    except Exception as error:
        raise_if_cancelled()
        attempts = 1 if isinstance(error, Reject) else HANDLER_ATTEMPTS
        if (more := sparingly(Action.HANDLER_FAILED, type(error).__name__)) is not None:
            _log.error(Action.HANDLER_FAILED, event_id=event.id, attempts=attempts, **told(error), **more)
        return _failure(error)
    return None


def _failure(error: Exception) -> Failure:
    return Failure(error) if isinstance(error, Reject) else Failure(HandlerFailed(repr(error)), format_exc())


async def _call(handler: EventHandler, event: EventEnvelope) -> None:
    try:
        await handler(event)
    except asyncio.CancelledError as error:
        raise survived(error) from error
