"""What becomes of a delivered event: handled and acknowledged, passed over, or parked; however it was delivered."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
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
from agentbus.workers.concurrency import raise_if_cancelled, side_by_side
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


class BatchHandler(Handler):
    """A handler that does for many events at once what it does for one: what is read and written goes together."""

    async def handle(self, event: EventEnvelope) -> None:
        await self.handle_all((event,))

    @abstractmethod
    async def handle_all(self, events: Sequence[EventEnvelope]) -> None:
        """Handle events; all are acknowledged when this returns.

        As `handle` does; but what fails by anything else than StoreError and BusError is given one by one at once.
        """


async def react(bus: Bus, handler: Handler, delivery: Delivery, metrics: WorkerMetrics | None = None) -> None:
    """Hand a delivery to a reactive worker's handler, waiting out store and broker.

    What fails for good is parked. It is counted in the `metrics`, if there are some.
    """
    with _counted(1, metrics):
        await _react(bus, handler, delivery, metrics)


async def react_together(
    bus: Bus, handler: BatchHandler, deliveries: Sequence[Delivery], metrics: WorkerMetrics | None = None
) -> None:
    """Hand what was delivered together to a handler of many, as `react` does one; each by itself if that fails."""
    with _counted(len(deliveries), metrics):
        give_up = partial(_park, bus, metrics)
        read = [(one, event) for one in deliveries if (event := await _read(one, give_up))]
        events = [event for _, event in read]
        try:
            with ExitStack() as stack:
                for event in events if traces().on else ():
                    stack.enter_context(traces().handling(bus.topology.events, event))
                if events:
                    await keep_trying("handle events", handler.handle_all, events)
        except Exception as error:
            raise_if_cancelled()
            if (more := sparingly(Action.HANDLER_FAILED, type(error).__name__)) is not None:
                _log.warning(Action.HANDLER_FAILED, events=len(events), **told(error), **more)
            await side_by_side(_react(bus, handler, delivery, metrics) for delivery, _ in read)
        else:
            for delivery, _ in read:
                await delivery.ack()


@contextmanager
def _counted(deliveries: int, metrics: WorkerMetrics | None) -> Iterator[None]:
    """Count deliveries, and how long each of them takes while the body runs."""
    begun, labels = monotonic(), ("rabbitmq", "process", "events")
    if metrics:
        metrics.consumed.labels(*labels).inc(deliveries)
    yield
    if metrics:
        taken, observe = monotonic() - begun, metrics.process_seconds.labels(*labels).observe
        for _ in range(deliveries):
            observe(taken)


async def _react(bus: Bus, handler: Handler, delivery: Delivery, metrics: WorkerMetrics | None) -> None:
    async def handle(event: EventEnvelope) -> None:
        await keep_trying("handle an event", handler.handle, event)

    await hand_over(delivery, handle, partial(_park, bus, metrics), where=bus.topology.events)


async def _park(bus: Bus, metrics: WorkerMetrics | None, delivery: Delivery, failure: Failure) -> None:
    if metrics:
        metrics.handler_failures.inc()
    await park(bus, delivery, failure)


async def hand_over(delivery: Delivery, handler: EventHandler, give_up: GiveUp, *, where: str) -> None:
    """Give a delivery's event to `handler`, a few times if it fails; acknowledge it, or let `give_up` do so.

    `where` it was published.
    """
    event = await _read(delivery, give_up)
    if event is None:
        return
    with traces().handling(where, event):
        if (failure := await given(event, handler)) is None:
            await delivery.ack()
        else:
            await give_up(delivery, failure)


async def _read(delivery: Delivery, give_up: GiveUp) -> EventEnvelope | None:
    """Return a delivery's event; None if that was seen to: it is none, is of a later release, or can't be read."""
    if is_writing(delivery.body):  # no event: for those who show replies while they are being written
        await delivery.ack()
        return None
    try:
        event = EventEnvelope.from_bytes(delivery.body)
    except UnsupportedType as error:
        # Announced by a later release: subscribers pass over what they do not know.
        if (more := sparingly(Action.EVENT_UNKNOWN)) is not None:
            _log.info(Action.EVENT_UNKNOWN, message_id=delivery.message_id, error=str(error), **more)
        await delivery.ack()
    except InvalidInput as error:
        await give_up(delivery, Failure(error))
    else:
        return event
    return None


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
