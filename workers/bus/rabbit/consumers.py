"""Consumers: one channel each, deliveries handed over synchronously in queue order."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from aiormq import spec
from aiormq.channel import Channel
from pamqp.common import FieldValue

from agentbus.workers.bus.port import (
    DEATH_EXCHANGE,
    DEATH_QUEUE,
    DEATH_REASON,
    Consumer,
    Delivery,
    Headers,
    OnDelivery,
)
from agentbus.workers.bus.rabbit.acks import Acks
from agentbus.workers.bus.rabbit.connections import CALL_SECONDS, DRIVER_ERRORS, called, close_channel, wire_of
from agentbus.workers.bus.rabbit.failures import channel_failure
from agentbus.workers.bus.rabbit.incoming import Properties
from agentbus.workers.bus.rabbit.intake import Intake
from agentbus.workers.bus.refusals import Fate, tell_refused
from agentbus.workers.bus.replies import ReplyAddresses
from agentbus.workers.concurrency import afterwards

_CLOSING: Final = 2 * CALL_SECONDS + 1.0
"""Seconds after which closing a consumer is given up: its parts have their own limits."""

_COUNT: Final = "x-delivery-count"
"""Set by a quorum queue from the second delivery on: how often it was delivered before."""
_MOST_DELIVERIES: Final = 2**31
"""More than any delivery limit of ours."""

_DEATHS: Final = {DEATH_REASON, DEATH_QUEUE, DEATH_EXCHANGE}

_NO_HEADERS: Final[Headers] = {}


class RabbitDelivery(Delivery):
    """A delivery on a consumer's channel."""

    __slots__ = (
        "_consumer",
        "_tag",
        "attempts",
        "body",
        "correlation_id",
        "headers",
        "message_id",
        "queue",
        "reply_to",
        "user",
    )

    def __init__(
        self, tag: int, properties: Properties, body: bytes, consumer: "RabbitConsumer", *, redelivered: bool
    ) -> None:
        self.body = body
        self.message_id = properties.message_id or ""
        self.queue = consumer.queue
        self.headers = plain_headers(properties.headers) if properties.headers else _NO_HEADERS
        self.attempts = attempts_of(self.headers, redelivered=True) if redelivered else 1
        named = properties.reply_to
        self.reply_to = consumer.addresses.allowed(named, queue=consumer.queue) if named else None
        self.user = properties.user_id
        self.correlation_id = properties.correlation_id
        self._tag = tag
        self._consumer: RabbitConsumer | None = consumer

    @property
    def settled(self) -> bool:
        return self._consumer is None

    def let_go(self) -> bool:
        """Let nobody settle it any more; return whether it was still to be settled."""
        unsettled, self._consumer = self._consumer is not None, None
        return unsettled

    async def ack(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.ack(self._tag, len(self.body))

    async def requeue(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.requeue(self._tag, len(self.body))


class RabbitConsumer(Consumer):
    """A consumer on a channel of its own, which is closed, never cancelled.

    basic.cancel with unacknowledged messages lets the next consumer of a quorum queue have later ones at once.
    A delivery whose callback fails has the `fate` that its queue has for such.
    """

    def __init__(
        self,
        channel: Channel,
        queue: str,
        on_delivery: OnDelivery,
        on_end: Callable[[Consumer], None],
        addresses: ReplyAddresses,
        *,
        fate: Fate = Fate.DEAD_LETTERED,
    ) -> None:
        self.queue = queue
        self.addresses = addresses
        self._fate = fate
        self.lost = asyncio.Event()
        self._channel = channel
        self._on_delivery = on_delivery
        self._on_end = on_end
        self._wire = wire_of(channel)
        self._intake = Intake(self._on_content)
        self._acks = Acks(channel.number, self._wire, self._intake)
        self._running = True
        self._in_hand = 0
        self._cleanup: asyncio.Task[None] | None = None

    async def start(self, prefetch: int, priority: int) -> None:
        """Begin to consume. Raises Unroutable if there is no such queue."""
        self._channel.on_consumer_cancel_callbacks.add(self._on_cancel)
        self._wire.attach(self._channel.number, self._intake)
        try:
            await called(self._channel.basic_qos(prefetch_count=prefetch))
            arguments: dict[str, FieldValue] | None = {"x-priority": priority} if priority else None
            await called(self._channel.basic_consume(self.queue, _taken_before, arguments=arguments))
        except DRIVER_ERRORS as error:
            raise channel_failure(error, f"consuming {self.queue}") from error
        self._channel.closing.add_done_callback(lambda _: self._end())

    async def close(self) -> None:
        if self._running:
            self._stop()
            self._cleanup = asyncio.create_task(self._let_go())
        if self._cleanup is not None:
            # To its end, though the caller is cancelled: a channel that stays open keeps its queue.
            await afterwards(f"stop consuming {self.queue}", asyncio.wait({self._cleanup}), within=_CLOSING)

    async def _let_go(self) -> None:
        self._acks.flush()
        await close_channel(self._channel)
        self._wire.detach(self._channel.number, self._intake)

    def ack(self, tag: int, size: int) -> None:
        """Acknowledge a delivery of so many bytes, unless the consumer is gone."""
        if self._running:
            self._acks.ack(tag)
            self._settled(size)

    def requeue(self, tag: int, size: int) -> None:
        """Hand a delivery of so many bytes back, unless the consumer is gone."""
        if self._running:
            self._acks.requeue(tag)
            self._settled(size)

    def _settled(self, size: int) -> None:
        self._in_hand -= size
        self._wire.in_hand.settle(size)

    def _on_content(self, tag: int, redelivered: bool, properties: Properties, body: bytes) -> None:
        """Take a delivery, in the socket's callback: in the order of the queue."""
        if not self._running:
            return
        self._in_hand += len(body)
        self._wire.in_hand.take(len(body))
        delivery: RabbitDelivery | None = None
        try:
            delivery = RabbitDelivery(tag, properties, body, self, redelivered=redelivered)
            self._on_delivery(delivery)
        except Exception as error:
            tell_refused(self.queue, error, self._fate)
            if delivery is None or delivery.let_go():
                settle = self._acks.requeue if self._fate is Fate.HANDED_BACK else self._acks.dead_letter
                settle(tag)
                self._settled(len(body))

    def _on_cancel(self, _: spec.Basic.Cancel) -> None:
        """Note that the broker ended the consumer (its queue was deleted); the channel is still open."""
        self._end()
        self._cleanup = asyncio.create_task(close_channel(self._channel))

    def _end(self) -> None:
        self._wire.detach(self._channel.number, self._intake)
        if self._running:
            self._stop()
            self.lost.set()

    def _stop(self) -> None:
        """Take and settle nothing more: what is in hand is the broker's again."""
        self._running = False
        self._settled(self._in_hand)
        self._on_end(self)


async def _taken_before(_: object) -> None:
    """Take what aiormq delivers: nothing, as the channel's deliveries are taken off the wire."""


def attempts_of(headers: Mapping[str, object], *, redelivered: bool) -> int:
    """Return how often a message was delivered, this time included.

    The broker's word alone counts: before the second delivery, and on queues that don't count, the header is the
    publisher's, who may have put anything there.
    """
    if not redelivered:
        return 1
    counted = headers.get(_COUNT)
    return 1 + min(counted, _MOST_DELIVERIES) if isinstance(counted, int) and counted > 0 else 2


def plain_headers(headers: Mapping[str, object]) -> Headers:
    """Return the headers that are text or whole numbers: nothing of ours is anything else.

    Where a message was dead-lettered is read from the first entry of `x-death`, which the broker writes each time. The
    headers of that name it writes only where no `x-death` was before: a publisher who sends one keeps their own.
    """
    plain = {name: value for name, value in headers.items() if isinstance(value, str | int) and name not in _DEATHS}
    match headers.get("x-death"):
        case None:
            return plain
        case [{"reason": str(reason), "queue": str(queue), "exchange": str(exchange)}, *_]:
            return plain | {DEATH_REASON: reason, DEATH_QUEUE: queue, DEATH_EXCHANGE: exchange}
        case _:
            return plain | {DEATH_REASON: "unknown"}
