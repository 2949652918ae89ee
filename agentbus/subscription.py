"""A subscription: events of some topics, handed to an async function, sessions side by side."""

from functools import partial
from typing import Final

from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.errors import ConfigurationError
from agentbus.workers.bus.port import Bus, Delivery
from agentbus.workers.bus.side_by_side import SideBySide
from agentbus.workers.bus.supervision import SupervisedConsumer
from agentbus.workers.concurrency import in_turn
from agentbus.workers.delivery.failures import Failure, unforeseen
from agentbus.workers.delivery.parking import park
from agentbus.workers.delivery.retry import while_away
from agentbus.workers.reactive.handler import EventHandler, hand_over

CONCURRENCY: Final = 32
"""Sessions whose events are handled at a time, unless a subscription says otherwise."""

MOST: Final = 1000

_LEAST_PREFETCH: Final = 10
_AHEAD: Final = 2
"""Events taken for each that is handled. Few, as they are kept from others that share the subscription."""


class Subscription:
    """Events whose routing key matches one of `patterns`, each acknowledged once the handler returned.

    A handler that fails because store or broker is away is called again until they are back: that is no failure of it.

    Up to `concurrency` sessions at a time, and of each session one event after the other.
    """

    def __init__(
        self,
        bus: Bus,
        patterns: tuple[str, ...],
        handler: EventHandler,
        *,
        durable: str | None = None,
        ordered: bool = False,
        concurrency: int = CONCURRENCY,
    ) -> None:
        if not 1 <= concurrency <= MOST:
            raise ConfigurationError(f"concurrency is {concurrency}: it has to be 1 to {MOST}")
        self._bus = bus
        self._handler = handler
        self._durable = durable
        self._lanes = SideBySide(_conversation, self._handle, self._fail, most=concurrency)
        prefetch = max(_LEAST_PREFETCH, _AHEAD * concurrency)
        self._consumer = SupervisedConsumer(
            durable or ", ".join(patterns),
            partial(bus.subscribe, patterns, self._lanes.push, durable=durable, ordered=ordered, prefetch=prefetch),
            on_lost=self._lanes.forget,
        )
        self._started = False

    async def start(self) -> None:
        """Begin to handle events. Idempotent."""
        if not self._started:
            await self._consumer.start()
            await self._lanes.start()
            self._started = True

    async def drain(self, *, within: float) -> None:
        """Begin no more, and wait up to `within` seconds for the handlers that are under way, saying so."""
        await self._lanes.drain(within=within)

    async def close(self) -> None:
        """End it; an event whose handler is under way comes again if the subscription is durable. Idempotent."""
        await in_turn(self._consumer.close, self._lanes.close)
        self._started = False

    async def _handle(self, delivery: Delivery) -> None:
        async def handle(event: EventEnvelope) -> None:
            await while_away("handle an event", self._handler, event)

        await hand_over(delivery, handle, self._give_up, where=self._bus.topology.events)

    async def _fail(self, delivery: Delivery, error: Exception) -> None:
        await self._give_up(delivery, unforeseen(error))

    async def _give_up(self, delivery: Delivery, failure: Failure) -> None:
        """Park what a durable subscription can't handle; a live one's queue is gone when a replay would come."""
        if self._durable:
            await park(self._bus, delivery, failure)
        else:
            await delivery.ack()


def _conversation(delivery: Delivery) -> str:
    """Name a delivery's lane: events go by their id, `<conversation>.<generation>/<sequence>`."""
    return delivery.message_id.partition(".")[0]
