"""A reactive worker's events on the in-process bus, handled as they are over RabbitMQ."""

from functools import partial

from agentbus.workers.bus.port import Bus, Delivery
from agentbus.workers.bus.pump import Pump
from agentbus.workers.bus.supervision import SupervisedConsumer
from agentbus.workers.concurrency import in_turn, side_by_side
from agentbus.workers.delivery.parking import park_failed
from agentbus.workers.delivery.telemetry import WorkerMetrics
from agentbus.workers.reactive.handler import Handler, react


class EmbeddedEvents:
    """Hands the events of `patterns` to `handler`, through the durable subscription `name`, several at a time."""

    def __init__(
        self,
        bus: Bus,
        name: str,
        patterns: tuple[str, ...],
        handler: Handler,
        *,
        prefetch: int = 100,
        metrics: WorkerMetrics | None = None,
    ) -> None:
        self._bus = bus
        self._handler = handler
        self._metrics = metrics
        self._pump = Pump(self._react, partial(park_failed, bus), most=prefetch)
        self._consumer = SupervisedConsumer(
            name,
            partial(bus.subscribe, patterns, self._pump.push, durable=name, prefetch=prefetch),
            on_lost=self._pump.forget,
        )

    async def start(self) -> None:
        """Begin to handle events."""
        await self._pump.start()
        await self._consumer.start()

    async def close(self) -> None:
        """End it; what is being handled comes again. Idempotent."""
        await in_turn(self._consumer.close, self._pump.close)

    async def _react(self, batch: list[Delivery]) -> None:
        await side_by_side(react(self._bus, self._handler, delivery, self._metrics) for delivery in batch)
