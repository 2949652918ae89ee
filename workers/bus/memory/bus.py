"""The bus port inside one process: for the embedded mode and for fast tests."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from math import inf
from typing import Any, Final
from uuid import uuid4

from agentbus.contracts.commands import CommandReply
from agentbus.contracts.errors import BrokerUnavailable, BusError, ReplyTimeout
from agentbus.contracts.topology import DIRECT_REPLY_TO, Binding, Queue, Topology
from agentbus.workers.bus.memory.broker import MemoryBroker
from agentbus.workers.bus.memory.consumers import MemoryConsumer
from agentbus.workers.bus.memory.queue import MemoryQueue
from agentbus.workers.bus.port import Bus, BusInfo, Consumer, Delivery, HandedOver, Message, OnDelivery, QueueDepth
from agentbus.workers.bus.refusals import Fate
from agentbus.workers.bus.replies import ReplyAddresses
from agentbus.workers.concurrency import raise_if_cancelled
from agentbus.workers.release import release

_DIRECT: Final = f"{DIRECT_REPLY_TO}."


class MemoryBus(Bus):
    """Queues in this process; what is in them is gone when it ends. Several may share a `broker`, as other users."""

    hands_over = True

    def __init__(self, topology: Topology, broker: MemoryBroker | None = None, *, user: str = "agentbus") -> None:
        self.topology = topology
        self.user = user
        self._addresses = ReplyAddresses(topology)
        self._broker = broker or MemoryBroker()
        self._replies: dict[str, asyncio.Future[bytes]] = {}
        self._awaited: set[asyncio.Future[CommandReply]] = set()
        """The replies to what was handed over."""
        self._live = count(1)
        self._running = False

    async def start(self) -> None:
        self._running = True

    async def close(self) -> None:
        self._running = False
        for consumer in self._consumers():
            consumer.end()
        awaited: list[asyncio.Future[Any]] = [*self._replies.values(), *self._awaited]
        for reply in awaited:
            if not reply.done():
                reply.set_exception(ReplyTimeout("the bus was closed before the reply: retry with the same id"))

    async def info(self) -> BusInfo:
        return BusInfo(kind="memory", version=release())

    async def declare(self) -> None:
        self._check_running()
        self._broker.declare(self.topology)

    async def check(self) -> None:
        self._check_running()
        self._broker.check(self.topology)

    async def close_intake(self, moving_to: int) -> None:
        self._check_running()
        self._broker.close_intake(self.topology, moving_to)

    async def open_intake(self) -> None:
        self._check_running()
        self._broker.open_intake(self.topology)

    async def declare_queue(self, queue: Queue) -> None:
        self._check_running()
        self._broker.declare_queue(queue)

    async def delete_queue(self, queue: str) -> None:
        self._check_running()
        self._broker.delete_queue(queue)

    async def declare_subscription(self, name: str, patterns: tuple[str, ...]) -> None:
        self._check_running()
        self._broker.declare_events(self.topology)
        self._broker.declare_queue(self.topology.subscription(name, patterns))

    async def depth(self, queue: str) -> QueueDepth:
        self._check_running()
        found = self._broker.queue(queue)
        return QueueDepth(ready=found.ready, consumers=found.active)

    async def publish(self, exchange: str, routing_key: str, message: Message, *, mandatory: bool = True) -> None:
        self._check_running()
        self._broker.route(exchange, routing_key, message, mandatory=mandatory, user=self.user)
        await asyncio.sleep(0)  # as a broker's confirm does, let others run

    async def publish_many(
        self, exchange: str, messages: Sequence[tuple[str, Message]], *, mandatory: bool = True
    ) -> list[BusError | None]:
        outcomes: list[BusError | None] = []
        for routing_key, message in messages:
            try:
                await self.publish(exchange, routing_key, message, mandatory=mandatory)
                outcomes.append(None)
            except BusError as error:
                raise_if_cancelled()
                outcomes.append(error)
        return outcomes

    async def request(self, exchange: str, routing_key: str, message: Message, *, timeout: float) -> bytes:
        self._check_running()
        correlation = uuid4().hex
        reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._replies[correlation] = self._broker.replies[correlation] = reply
        try:
            asked = replace(message, correlation_id=correlation, reply_to=f"{_DIRECT}{correlation}")
            self._broker.route(exchange, routing_key, asked, mandatory=True, user=self.user)
            async with asyncio.timeout(timeout):
                return await reply
        except TimeoutError as error:
            raise ReplyTimeout(f"no reply within {timeout:g} s: retry with the same command id") from error
        finally:
            del self._replies[correlation], self._broker.replies[correlation]

    async def hand_over(self, exchange: str, routing_key: str, handed: HandedOver, *, timeout: float) -> CommandReply:
        self._check_running()
        reply: asyncio.Future[CommandReply] = asyncio.get_running_loop().create_future()
        handed.reply = reply
        self._awaited.add(reply)
        try:
            self._broker.hand_over(exchange, routing_key, handed, self.user)
            async with asyncio.timeout(timeout):
                return await reply
        except TimeoutError as error:
            raise ReplyTimeout(f"no reply within {timeout:g} s: retry with the same command id") from error
        finally:
            self._awaited.discard(reply)

    async def answer(self, delivery: Delivery, reply: CommandReply) -> None:
        if delivery.handed is None:
            await super().answer(delivery, reply)
            return
        self._check_running()
        waits = delivery.handed.reply
        if waits is not None and not waits.done():
            waits.set_result(reply)

    async def reply(self, delivery: Delivery, body: bytes) -> None:
        if delivery.handed is not None:
            await self.answer(delivery, CommandReply.model_validate_json(body))
            return
        self._check_running()
        reply = self._broker.replies.get((delivery.reply_to or "").removeprefix(_DIRECT))
        if reply is not None and not reply.done():
            reply.set_result(body)

    async def consume(self, queue: str, on_delivery: OnDelivery, *, prefetch: int, priority: int = 0) -> Consumer:
        self._check_running()
        source = self._broker.queue(queue)
        fate = Fate.HANDED_BACK if queue == self.topology.parked else Fate.DEAD_LETTERED
        return source.attach(MemoryConsumer(source, on_delivery, self._addresses, prefetch, priority, fate=fate))

    async def subscribe(
        self,
        patterns: tuple[str, ...],
        on_delivery: OnDelivery,
        *,
        durable: str | None = None,
        ordered: bool = False,
        prefetch: int = 50,
    ) -> Consumer:
        self._check_running()
        self._broker.declare_events(self.topology)
        if durable is not None:
            kept = self._broker.declare_queue(self.topology.subscription(durable, patterns, ordered=ordered))
            return kept.attach(MemoryConsumer(kept, on_delivery, self._addresses, prefetch))
        bindings = tuple(Binding(exchange=self.topology.events, routing_key=pattern) for pattern in patterns)
        live = Queue(name=f"{self.topology.prefix}.live.{next(self._live)}", arguments={}, bindings=bindings)
        source = self._broker.declare_queue(live)
        return source.attach(_LiveConsumer(source, on_delivery, self._addresses, prefetch, self._broker))

    def hears(self, topic: str) -> bool:
        return not self._running or self._broker.hears(self.topology.events, topic)

    def heard_until(self) -> float:
        durable = self.topology.subscription_queue("")
        subscriptions = (queue for queue in self._broker.queues if queue.queue.name.startswith(durable))
        return min((queue.oldest for queue in subscriptions), default=inf)

    def disconnect(self) -> None:
        """End all consumers as a lost connection would, for tests of those who must start them again."""
        for consumer in self._consumers():
            consumer.lose()

    def _consumers(self) -> list[MemoryConsumer]:
        return [consumer for queue in self._broker.queues for consumer in queue.consumers]

    def _check_running(self) -> None:
        if not self._running:
            raise BrokerUnavailable("the bus is closed")


class _LiveConsumer(MemoryConsumer):
    """The only consumer of a queue that goes with it."""

    def __init__(
        self,
        queue: MemoryQueue,
        on_delivery: OnDelivery,
        addresses: ReplyAddresses,
        prefetch: int,
        broker: MemoryBroker,
    ) -> None:
        super().__init__(queue, on_delivery, addresses, prefetch, fate=Fate.DROPPED)
        self._source = queue
        self._broker = broker

    def end(self) -> None:
        if self in self._source.consumers:
            super().end()
            self._broker.delete_queue(self._source.queue.name)
