"""A queue inside the process."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from math import inf

from agentbus.contracts.topology import Queue
from agentbus.workers.bus.memory.consumers import MemoryConsumer, MemoryDelivery, Stored
from agentbus.workers.bus.port import HandedOver, Message

OnDead = Callable[[Queue, Stored, str], None]
"""Takes a message that its queue gives up, and why, in RabbitMQ's word."""


class MemoryQueue:
    """Keeps messages in order and hands them to consumers, from the event loop and never from inside a call.

    What is handed over is, if nothing is before it and its consumer has room.
    """

    def __init__(self, queue: Queue, on_dead: OnDead) -> None:
        self.queue = queue
        self._on_dead = on_dead
        self._single = bool(queue.arguments.get("x-single-active-consumer", False))
        limit = queue.arguments.get("x-delivery-limit")
        self._limit = None if limit is None else int(limit)
        self._ready: deque[Stored] = deque()
        self._places = 0
        self._consumers: deque[MemoryConsumer] = deque()
        self._scheduled = False

    @property
    def ready(self) -> int:
        """How many messages wait."""
        return len(self._ready)

    @property
    def active(self) -> int:
        """How many consumers get deliveries."""
        return min(1, len(self._consumers)) if self._single else len(self._consumers)

    @property
    def consumers(self) -> tuple[MemoryConsumer, ...]:
        """The consumers, the oldest first while single active consumer is on."""
        return tuple(self._consumers)

    @property
    def oldest(self) -> float:
        """When the oldest message was published that is not acknowledged, by `monotonic`; inf if all are."""
        held = [stored.at for consumer in self._consumers for stored in consumer.held]
        return min([*held, self._ready[0].at] if self._ready else held, default=inf)

    def put(self, exchange: str, routing_key: str, message: Message, user: str | None = None) -> None:
        """Add a message at the back."""
        self._places += 1
        self._ready.append(Stored(self._places, exchange, routing_key, message, user))
        self._wake()

    def hand_over(self, exchange: str, routing_key: str, handed: HandedOver, user: str | None) -> None:
        """Hand a command to a consumer at once, if it is its turn; otherwise add it at the back."""
        self._places += 1
        stored = Stored(self._places, exchange, routing_key, handed, user)
        if not self._ready and (consumer := self._next_consumer()) is not None:
            consumer.deliver(stored, MemoryDelivery(stored, self.queue.name, consumer))
        else:
            self._ready.append(stored)
            self._wake()

    def attach(self, consumer: MemoryConsumer) -> MemoryConsumer:
        """Add a consumer and return it."""
        self._consumers.append(consumer)
        self._wake()
        return consumer

    def detach(self, consumer: MemoryConsumer) -> None:
        """Remove a consumer; what it had not acknowledged goes back."""
        self._consumers.remove(consumer)
        self.take_back(consumer.release())

    def take_back(self, messages: list[Stored]) -> None:
        """Return messages to their places, or dead-letter what was returned too often."""
        for stored in sorted(messages, key=lambda stored: stored.place, reverse=True):
            returned = replace(stored, returns=stored.returns + 1)
            if self._limit is not None and returned.returns > self._limit:
                self._on_dead(self.queue, returned, "delivery_limit")
            else:
                self._insert(returned)
        self._wake()

    def give_up(self, stored: Stored) -> None:
        """Dead-letter a message, or drop it if there is nowhere to take it."""
        self._on_dead(self.queue, stored, "rejected")
        self._wake()

    def settled(self) -> None:
        """Note that a consumer has room again."""
        self._wake()

    def _insert(self, stored: Stored) -> None:
        passed: list[Stored] = []
        while self._ready and self._ready[0].place < stored.place:
            passed.append(self._ready.popleft())
        self._ready.appendleft(stored)
        self._ready.extendleft(reversed(passed))

    def _wake(self) -> None:
        if not self._scheduled and self._ready and self._consumers:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._hand_out)

    def _hand_out(self) -> None:
        self._scheduled = False
        while self._ready and (consumer := self._next_consumer()) is not None:
            stored = self._ready.popleft()
            consumer.deliver(stored, MemoryDelivery(stored, self.queue.name, consumer))

    def _next_consumer(self) -> MemoryConsumer | None:
        """Return who gets the next message: the oldest alone, or whoever has room, in turn."""
        if self._single:
            active = max(self._consumers, key=lambda consumer: consumer.priority, default=None)
            # One that was active before somebody of higher priority came finishes what it holds first: order is kept.
            if any(consumer.held for consumer in self._consumers if consumer is not active):
                return None
            return active if active and active.has_room else None
        for _ in range(len(self._consumers)):
            consumer = self._consumers[0]
            self._consumers.rotate(-1)
            if consumer.has_room:
                return consumer
        return None
