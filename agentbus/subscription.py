"""A subscription: events of some topics, handed one after the other to an async function."""

from functools import partial

from workers.bus.port import Bus, Delivery
from workers.bus.pump import Pump
from workers.bus.supervise import KeptConsumer
from workers.endings import in_turn
from workers.reactive.handling import EventHandler, hand_over
from workers.session.parking import park
from workers.session.plan import Failure, unforeseen


class Subscription:
    """Events whose routing key matches one of `patterns`, acknowledged once the handler returned."""

    def __init__(
        self,
        bus: Bus,
        patterns: tuple[str, ...],
        handler: EventHandler,
        *,
        durable: str | None = None,
        ordered: bool = False,
    ) -> None:
        self._bus = bus
        self._handler = handler
        self._durable = durable
        self._pump = Pump(self._handle_batch, self._fail)
        self._consumer = KeptConsumer(
            durable or ", ".join(patterns),
            partial(bus.subscribe, patterns, self._pump.push, durable=durable, ordered=ordered),
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
        await in_turn(self._consumer.close, self._pump.close)
        self._started = False

    async def _handle_batch(self, batch: list[Delivery]) -> None:
        for delivery in batch:
            await hand_over(delivery, self._handler, self._give_up)

    async def _fail(self, delivery: Delivery, error: Exception) -> None:
        await self._give_up(delivery, unforeseen(error))

    async def _give_up(self, delivery: Delivery, failure: Failure) -> None:
        """Park what a durable subscription can't handle; a live one's queue is gone when a replay would come."""
        if self._durable:
            await park(self._bus, delivery, failure)
        else:
            await delivery.ack()
