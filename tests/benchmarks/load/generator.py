"""Publishing with confirms, in bulk or at a steady rate, while a consumer counts the events."""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterable
from time import monotonic
from typing import Final, TypeVar

from agentbus.contracts.ids import ConversationId
from agentbus.workers.bus.port import Consumer, Delivery, Message
from agentbus.workers.bus.pump import Pump
from agentbus.workers.bus.rabbit import RabbitBus
from tests.benchmarks.layout import EVENTS, TOPOLOGY, WAYS, declare
from tests.benchmarks.load.arrivals import Arrivals, Key
from tests.benchmarks.messages import SHAPES, Talk, envelope_of

T = TypeVar("T")

_PATIENCE: Final = 120.0
_PREFETCH: Final = 1000
_TOGETHER: Final = 500

Outgoing = tuple[str, tuple[str, Message]]
"""An exchange, and what to publish there: routing key and message."""


class Generator:
    """What the driver can ask of the load process: each public method is a call of the protocol (see `program`)."""

    def __init__(self) -> None:
        self._way = WAYS["queue"]
        self._bus: RabbitBus | None = None
        self._consumer: Consumer | None = None
        self._pump = Pump(self._take, self._lose, most=_PREFETCH)
        self._arrivals = Arrivals()

    async def open(self, *, amqp_url: str, way: str) -> None:
        """Connect, declare everything, and begin to count events. Messages take the `way` of `layout.WAYS`."""
        await self.close()
        self._way = WAYS[way]
        self._arrivals = Arrivals()
        self._bus = bus = RabbitBus(amqp_url, TOPOLOGY, publish_window=200, connection_name="bench.load")
        await bus.start()
        await declare(amqp_url)
        if way != "queue":
            await bus.declare()
        self._pump = Pump(self._take, self._lose, most=_PREFETCH)
        await self._pump.start()
        self._consumer = await bus.consume(EVENTS, self._pump.push, prefetch=_PREFETCH)

    async def close(self) -> None:
        """Let go of the broker."""
        if self._bus is not None:
            await self._pump.close()
            await self._bus.close()
            self._bus = None

    async def publish(self, *, shape: str, name: str, users: int, each: int, first: int = 1) -> float:
        """Publish `each` messages of each person, in order; return how many seconds the confirms took."""
        outgoing = await self._prepared(SHAPES[shape](name, users, each, first))
        begun = monotonic()
        await self._publish(outgoing)
        return monotonic() - begun

    async def until_first(self) -> float:
        """Return the moment (monotonic clock) of the first event."""
        return await self._patiently(self._arrivals.until_first())

    async def until_all(self, *, patience: float = _PATIENCE) -> dict[str, float]:
        """Wait until all that was published has been announced; return what arrived (see `Arrivals.summary`)."""
        await self._patiently(self._arrivals.until_all(), patience)
        return self._arrivals.summary()

    async def announced(self) -> dict[str, object]:
        """Return the moment, and by partition how many messages were published and how many of them announced."""
        return {"at": monotonic(), "sent": _by_partition(self._arrivals.sent), "done": _by_partition(self._arrivals.at)}

    async def block(self, *, name: str, first: int, count: int) -> float:
        """Publish `count` messages of one person, wait for their events; return the seconds that it took."""
        outgoing = await self._prepared(SHAPES["bursts"](name, 1, count, first))
        begun = monotonic()
        await self._publish(outgoing)
        return await self._patiently(self._arrivals.until_all()) - begun

    async def paced(
        self, *, rate: float, seconds: float, name: str, users: int, shape: str = "interleaved"
    ) -> list[tuple[str, str, float, float]]:
        """Publish at a steady rate, late or not (open loop).

        Returns for each message its input id and conversation, when it was to be published, and when its event
        arrived. A publish that is late counts as waiting: nothing slows the offered load down.
        """
        total = int(rate * seconds)
        talk = SHAPES[shape](name, users, -(-total // users), 1)
        sent: list[tuple[str, str, int, float]] = []
        begun = monotonic() + 0.05
        async with asyncio.TaskGroup() as publishing:
            for index, (user, number) in zip(range(total), talk, strict=False):
                due = begun + index / rate
                conversation, outgoing = self._prepare(user, number)
                await asyncio.sleep(max(0.0, due - monotonic()))
                publishing.create_task(self._publish([outgoing]))
                sent.append((outgoing[1][1].message_id, conversation, number, due))
        await self._patiently(self._arrivals.until_all())
        arrived = self._arrivals.at
        return [(input_id, where, due, arrived[where, number]) for input_id, where, number, due in sent]

    @staticmethod
    async def _lose(_: Delivery, error: Exception) -> None:
        raise error

    async def _take(self, batch: list[Delivery]) -> None:
        for delivery in batch:
            self._arrivals.note(delivery.body)
            await delivery.ack()

    def _prepare(self, user: str, number: int) -> tuple[ConversationId, Outgoing]:
        conversation, envelope = envelope_of(user, number)
        self._arrivals.expect((conversation, number))
        exchange, key = self._way(conversation)
        return conversation, (exchange, (key, Message(body=envelope.to_bytes(), message_id=envelope.id)))

    async def _prepared(self, talk: Talk) -> list[Outgoing]:
        outgoing: list[Outgoing] = []
        for user, number in talk:
            outgoing.append(self._prepare(user, number)[1])
            if not len(outgoing) % _TOGETHER:
                await asyncio.sleep(0)  # the broker wants heartbeats
        return outgoing

    async def _publish(self, outgoing: Iterable[Outgoing]) -> None:
        assert self._bus is not None, "open it first"
        by_exchange: dict[str, list[tuple[str, Message]]] = {}
        for exchange, routed in outgoing:
            by_exchange.setdefault(exchange, []).append(routed)
        for exchange, messages in by_exchange.items():
            for error in await self._bus.publish_many(exchange, messages):
                if error is not None:
                    raise error

    async def _patiently(self, waiting: Coroutine[None, None, T], patience: float = _PATIENCE) -> T:
        try:
            async with asyncio.timeout(patience):
                return await waiting
        except TimeoutError:
            raise TimeoutError(f"{self._arrivals.missing} messages were not announced in {patience:g} s") from None


def _by_partition(keys: Iterable[Key]) -> dict[int, int]:
    counted = Counter(conversation for conversation, _ in keys)
    partitions: Counter[int] = Counter()
    for conversation, count in counted.items():
        partitions[TOPOLOGY.partition_of(ConversationId(conversation))] += count
    return partitions
