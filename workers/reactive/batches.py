"""A reactive worker's events as our own bus delivers them: all that has arrived at a time.

The in-process bus has no other way. Over RabbitMQ it is the way of a handler of many (`BatchHandler`): taking an event
off the wire costs a tenth of taking it through FastStream, and one frame acknowledges all that were handled together.
"""

from functools import partial
from typing import Final

from agentbus.workers.bus.port import Bus, Delivery
from agentbus.workers.bus.pump import Pump
from agentbus.workers.bus.supervision import SupervisedConsumer
from agentbus.workers.concurrency import in_turn, side_by_side
from agentbus.workers.delivery.parking import park_failed
from agentbus.workers.delivery.retry import keep_trying
from agentbus.workers.delivery.telemetry import WorkerMetrics
from agentbus.workers.reactive.handler import BatchHandler, Handler, react, react_together

PREFETCH: Final = 100
"""Events that are handled at a time."""
TOGETHER: Final = 250
"""Events that are handled together at most, by a handler of many."""
LINGER: Final = 0.05
"""Seconds for which the first of them waits for others: nobody waits for what is done about them."""


class BatchedEvents:
    """Hands the events of `patterns` to `handler`, through the durable subscription `name`.

    Those that have arrived together are handled at the same time, and the next ones after them. Instances with the same
    name share the events.
    """

    def __init__(
        self,
        bus: Bus,
        name: str,
        patterns: tuple[str, ...],
        handler: Handler,
        *,
        metrics: WorkerMetrics | None = None,
    ) -> None:
        self._bus = bus
        self._handler = handler
        self._metrics = metrics
        prefetch, linger = (TOGETHER, LINGER) if isinstance(handler, BatchHandler) else (PREFETCH, 0.0)
        self._pump = Pump(self._react, partial(park_failed, bus), most=prefetch, linger=linger)
        self._consumer = SupervisedConsumer(
            name,
            partial(bus.subscribe, patterns, self._pump.push, durable=name, prefetch=prefetch),
            on_lost=self._pump.forget,
        )

    async def start(self) -> None:
        """Begin to handle events. Waits out a broker that is not there for the moment."""
        await self._pump.start()
        await keep_trying("consume events", self._consumer.start)

    async def close(self) -> None:
        """End it; what is being handled comes again. Idempotent."""
        await in_turn(self._consumer.close, self._pump.close)

    async def _react(self, batch: list[Delivery]) -> None:
        if isinstance(self._handler, BatchHandler):
            await react_together(self._bus, self._handler, batch, self._metrics)
        else:
            await side_by_side(react(self._bus, self._handler, delivery, self._metrics) for delivery in batch)
