"""The bus port on RabbitMQ."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from time import monotonic
from typing import Final, TypeVar

from aiormq.exceptions import ChannelNotFoundEntity

from agentbus.contracts.errors import BusError, Unroutable
from agentbus.contracts.topology import Queue, Topology
from agentbus.workers.bus.port import Bus, BusInfo, Consumer, Delivery, Message, OnDelivery, QueueDepth
from agentbus.workers.bus.rabbit.connections import (
    CALL_SECONDS,
    DRIVER_ERRORS,
    Link,
    called,
    close_channel,
    is_usable,
    user_of,
)
from agentbus.workers.bus.rabbit.consumers import RabbitConsumer
from agentbus.workers.bus.rabbit.failures import channel_failure
from agentbus.workers.bus.rabbit.installation import (
    check_installation,
    close_intake,
    declare_installation,
    open_intake,
)
from agentbus.workers.bus.rabbit.publisher import Publisher
from agentbus.workers.bus.rabbit.requests import Replies, Requests
from agentbus.workers.bus.rabbit.topology import declare_events, declare_queues, declare_topology, delete_queue
from agentbus.workers.bus.refusals import Fate
from agentbus.workers.bus.replies import ReplyAddresses
from agentbus.workers.concurrency import afterwards, all_of, in_turn

_FRAMES_PER_DELIVERY: Final = 3

Declared = TypeVar("Declared")


class RabbitBus(Bus):
    """RabbitMQ, on one connection for publishing, one for the parking queue, and one for everything else.

    A memory or disk alarm blocks the connection that publishes; consuming goes on, so that queues can drain. What goes
    wrong on the connection that takes inputs does not keep parked ones from being recorded.

    `connect_timeout`: seconds that `start` waits for a broker. `publish_timeout`: seconds for one publish, and for
    reconnecting later on. `heartbeat`: seconds; a silent broker is noticed after about three of them.
    `publish_window`: unconfirmed messages at a time.
    """

    def __init__(
        self,
        url: str,
        topology: Topology,
        *,
        connect_timeout: float = 30,
        publish_timeout: float = 10,
        heartbeat: int = 10,
        publish_window: int = 100,
        connection_name: str = "agentbus",
    ) -> None:
        self.topology = topology
        self.user = user_of(url)
        self._connect_timeout = connect_timeout
        link = partial(Link, url, heartbeat=heartbeat, wait=publish_timeout, on_reconnect=self._reconnected)
        purposes = ("publish", "consume", "parking")
        self._out, self._in, self._parking = (link(name=f"{connection_name}.{purpose}") for purpose in purposes)
        # Events of one session go to several topics, and to queues that want all of them in order.
        self._publisher = Publisher(
            self._out, timeout=publish_timeout, window=publish_window, together={topology.events}, user=self.user
        )
        self._requests = Requests(self._out, timeout=publish_timeout, window=publish_window, user=self.user)
        self._replies = Replies(self._out, timeout=publish_timeout)
        self._addresses = ReplyAddresses(topology)
        self._consumers: set[Consumer] = set()

    def _reconnected(self) -> None:
        self.on_reconnect()

    async def start(self) -> None:
        await self._out.connection(self._connect_timeout)

    async def close(self) -> None:
        await in_turn(
            lambda: all_of(consumer.close() for consumer in tuple(self._consumers)),
            lambda: all_of((self._publisher.close(), self._requests.close(), self._replies.close())),
            lambda: all_of((self._out.close(), self._in.close(), self._parking.close())),
        )

    async def info(self) -> BusInfo:
        properties = (await self._out.connection()).server_properties
        return BusInfo(kind=str(properties.get("product", "AMQP")), version=str(properties.get("version", "")))

    async def declare(self) -> None:
        await declare_installation(self._in, self.topology)
        await declare_topology(self._in, self.topology)

    async def check(self) -> None:
        await check_installation(self._out, self.topology)

    async def close_intake(self, moving_to: int) -> None:
        await close_intake(self._in, self.topology, moving_to)

    async def open_intake(self) -> None:
        await open_intake(self._in, self.topology)
        await declare_topology(self._in, self.topology)

    async def declare_queue(self, queue: Queue) -> None:
        await declare_queues(self._in, (queue,))

    async def delete_queue(self, queue: str) -> None:
        await delete_queue(self._in, queue)

    async def declare_subscription(self, name: str, patterns: tuple[str, ...]) -> None:
        subscription = self.topology.subscription(name, patterns)
        await self._subscribing(partial(declare_queues, self._in, (subscription,)))

    async def depth(self, queue: str) -> QueueDepth:
        channel = await self._in.channel()
        try:
            found = await called(channel.queue_declare(queue, passive=True))
        except ChannelNotFoundEntity as error:
            raise Unroutable(f"there is no queue {queue!r}: declare the topology first") from error
        except DRIVER_ERRORS as error:
            raise channel_failure(error, f"asking for the depth of {queue}") from error
        finally:
            if is_usable(channel):
                await afterwards("close a channel", close_channel(channel), within=CALL_SECONDS)
        return QueueDepth(ready=found.message_count or 0, consumers=found.consumer_count or 0)

    async def publish(self, exchange: str, routing_key: str, message: Message, *, mandatory: bool = True) -> None:
        begun = monotonic()
        await self._publisher.publish(exchange, routing_key, message, mandatory=mandatory)
        self.on_published(exchange, 1, monotonic() - begun)

    async def publish_many(
        self, exchange: str, messages: Sequence[tuple[str, Message]], *, mandatory: bool = True
    ) -> list[BusError | None]:
        begun = monotonic()
        outcomes = await self._publisher.publish_many(exchange, messages, mandatory=mandatory)
        self.on_published(exchange, outcomes.count(None), monotonic() - begun)
        return outcomes

    async def request(self, exchange: str, routing_key: str, message: Message, *, timeout: float) -> bytes:
        reply = await self._requests.request(exchange, routing_key, message, timeout=timeout)
        self.on_published(exchange, 1, None)
        return reply

    async def reply(self, delivery: Delivery, body: bytes) -> None:
        await self._replies.reply(delivery, body)

    async def consume(self, queue: str, on_delivery: OnDelivery, *, prefetch: int, priority: int = 0) -> Consumer:
        is_last = queue == self.topology.parked
        fate = Fate.HANDED_BACK if is_last else Fate.DEAD_LETTERED
        link = self._parking if is_last else self._in
        return await self._consume(link, queue, on_delivery, prefetch=prefetch, priority=priority, fate=fate)

    async def _consume(
        self, link: Link, queue: str, on_delivery: OnDelivery, *, prefetch: int, priority: int = 0, fate: Fate
    ) -> Consumer:
        channel = await link.channel(frame_buffer=prefetch * _FRAMES_PER_DELIVERY)
        consumer = RabbitConsumer(channel, queue, on_delivery, self._consumers.discard, self._addresses, fate=fate)
        self._consumers.add(consumer)
        try:
            await consumer.start(prefetch, priority)
        except BaseException:
            await consumer.close()
            raise
        return consumer

    async def subscribe(
        self,
        patterns: tuple[str, ...],
        on_delivery: OnDelivery,
        *,
        durable: str | None = None,
        ordered: bool = False,
        prefetch: int = 50,
    ) -> Consumer:
        if durable is not None:
            queue = self.topology.subscription(durable, patterns, ordered=ordered)
            await self._subscribing(partial(declare_queues, self._in, (queue,)))
            return await self.consume(queue.name, on_delivery, prefetch=prefetch)
        live = await self._subscribing(partial(self._live_queue, patterns))
        return await self._consume(self._in, live, on_delivery, prefetch=prefetch, fate=Fate.DROPPED)

    async def _subscribing(self, call: Callable[[], Awaitable[Declared]]) -> Declared:
        """Make a call that binds a queue to the exchange of events. Declare that if it is missing, and only then.

        A user that may only read needs no right to declare exchanges where a worker has been before.
        """
        try:
            return await call()
        except Unroutable:
            await declare_events(self._in, self.topology)
            return await call()

    async def _live_queue(self, patterns: tuple[str, ...]) -> str:
        """Declare a queue that belongs to our connection and goes with its only consumer."""
        channel = await self._in.channel()
        try:
            declared = await called(channel.queue_declare(exclusive=True, auto_delete=True))
            name = str(declared.queue)
            for pattern in patterns:
                await called(channel.queue_bind(name, self.topology.events, pattern))
        except DRIVER_ERRORS as error:
            raise channel_failure(error, "subscribing") from error
        finally:
            if is_usable(channel):
                await afterwards("close a channel", close_channel(channel), within=CALL_SECONDS)
        return name
