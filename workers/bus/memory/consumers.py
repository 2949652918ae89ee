"""A consumer inside the process, and what it is handed."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field
from time import monotonic
from typing import Protocol

from agentbus.contracts.topology import DIRECT_REPLY_TO
from agentbus.workers.bus.port import Consumer, Delivery, HandedOver, Headers, Message, OnDelivery
from agentbus.workers.bus.refusals import Fate, tell_refused
from agentbus.workers.bus.replies import ReplyAddresses


@dataclass(slots=True, frozen=True)
class Stored:
    """A message in a queue; `place` is its place in the queue's order, whatever happens to it."""

    place: int
    exchange: str
    routing_key: str
    content: Message | HandedOver
    user: str | None = None
    returns: int = 0
    at: float = field(default_factory=monotonic)
    """When it was published."""

    @property
    def message(self) -> Message:
        """What it is as a message."""
        return self.content.message if isinstance(self.content, HandedOver) else self.content


class Source(Protocol):
    """What a consumer needs of its queue."""

    def settled(self) -> None:
        """Note that a consumer has room again."""

    def give_up(self, stored: Stored) -> None:
        """Dead-letter a message, or drop it if there is nowhere to take it."""

    def take_back(self, messages: list[Stored]) -> None:
        """Return messages to their places."""

    def detach(self, consumer: "MemoryConsumer") -> None:
        """Remove a consumer; what it had not acknowledged goes back."""


class MemoryConsumer(Consumer):
    """Holds up to `prefetch` unacknowledged messages of one queue."""

    def __init__(
        self,
        queue: Source,
        on_delivery: OnDelivery,
        addresses: ReplyAddresses,
        prefetch: int,
        priority: int = 0,
        *,
        fate: Fate = Fate.DEAD_LETTERED,
    ) -> None:
        self.addresses = addresses
        self.lost = asyncio.Event()
        self.queue = queue
        self._on_delivery = on_delivery
        self._prefetch = prefetch
        self.priority = priority
        self._fate = fate
        self._unacked: dict[int, Stored] = {}
        self._running = True

    @property
    def has_room(self) -> bool:
        """Whether it may be handed another message."""
        return len(self._unacked) < self._prefetch

    @property
    def held(self) -> Collection[Stored]:
        """What it was handed and is not acknowledged yet."""
        return self._unacked.values()

    def deliver(self, stored: Stored, delivery: Delivery) -> None:
        """Hand over a message."""
        self._unacked[stored.place] = stored
        try:
            self._on_delivery(delivery)
        except Exception as error:
            tell_refused(delivery.queue, error, self._fate)
            if self._fate is Fate.HANDED_BACK:
                self.requeue(stored.place)
            elif self._unacked.pop(stored.place, None) is not None:
                self.queue.give_up(stored)

    def ack(self, place: int) -> None:
        """Forget a message, unless the consumer is gone."""
        if self._unacked.pop(place, None) is not None:
            self.queue.settled()

    def requeue(self, place: int) -> None:
        """Hand a message back, unless the consumer is gone."""
        stored = self._unacked.pop(place, None)
        if stored is not None:
            self.queue.take_back([stored])

    def release(self) -> list[Stored]:
        """Give up everything that is unacknowledged."""
        held = list(self._unacked.values())
        self._unacked.clear()
        return held

    async def close(self) -> None:
        self.end()

    def lose(self) -> None:
        """End it as a lost connection would."""
        if self._running:
            self.end()
            self.lost.set()

    def end(self) -> None:
        """Leave the queue. Idempotent."""
        if self._running:
            self._running = False
            self.queue.detach(self)


class MemoryDelivery(Delivery):
    """A delivery to a consumer in the process."""

    __slots__ = (
        "_consumer",
        "_stored",
        "attempts",
        "correlation_id",
        "handed",
        "queue",
        "reply_to",
        "user",
    )

    def __init__(self, stored: Stored, queue: str, consumer: MemoryConsumer) -> None:
        content = stored.content
        self.queue = queue
        self.attempts = 1 + stored.returns
        self.user = stored.user
        if isinstance(content, HandedOver):
            self.handed, self.reply_to, self.correlation_id = content, DIRECT_REPLY_TO, None
        else:
            self.handed, self.correlation_id = None, content.correlation_id
            self.reply_to = consumer.addresses.allowed(content.reply_to, queue=queue)
        self._stored = stored
        self._consumer: MemoryConsumer | None = consumer

    @property
    def body(self) -> bytes:  # type: ignore[override] # nobody sets it
        return self._stored.message.body

    @property
    def message_id(self) -> str:  # type: ignore[override] # nobody sets it
        return self._stored.message.message_id

    @property
    def headers(self) -> Headers:  # type: ignore[override] # nobody sets it
        return self._stored.message.headers

    @property
    def settled(self) -> bool:
        return self._consumer is None

    async def ack(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.ack(self._stored.place)

    async def requeue(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.requeue(self._stored.place)
