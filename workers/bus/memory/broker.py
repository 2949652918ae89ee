"""Exchanges, bindings and queues inside the process."""

import asyncio
from dataclasses import replace
from typing import Final

from agentbus.contracts.errors import TopologyMismatch, Unroutable
from agentbus.contracts.installation import Installation
from agentbus.contracts.topology import Binding, Queue, Topology
from agentbus.workers.bus.memory.consumers import Stored
from agentbus.workers.bus.memory.queue import MemoryQueue
from agentbus.workers.bus.memory.topics import topic_matches
from agentbus.workers.bus.port import DEATH_EXCHANGE, DEATH_QUEUE, DEATH_REASON, HandedOver, Message

_DEATHS: Final = frozenset((DEATH_EXCHANGE, DEATH_QUEUE, DEATH_REASON))


class MemoryBroker:
    """Routes messages into queues. A message to the exchange "" goes to the queue that its routing key names."""

    def __init__(self) -> None:
        self._types: dict[str, str] = {}
        # Of each exchange, for each routing key the queues that are bound by it.
        self._bindings: dict[str, dict[str, set[str]]] = {}
        self._queues: dict[str, MemoryQueue] = {}
        self._installation: Installation | None = None
        self.replies: dict[str, asyncio.Future[bytes]] = {}
        """Requests that wait for their reply, by the token that deliveries name."""

    @property
    def queues(self) -> tuple[MemoryQueue, ...]:
        """All queues."""
        return tuple(self._queues.values())

    def declare(self, topology: Topology) -> None:
        """Declare what a topology holds; idempotent. Raises InstallationMismatch."""
        self.check(topology)
        self._installation = Installation.of(topology)
        for exchange in topology.exchanges():
            self._types[exchange.name] = exchange.type
            self._bindings.setdefault(exchange.name, {})
        for queue in topology.queues():
            self.declare_queue(queue)

    def declare_events(self, topology: Topology) -> None:
        """Declare the exchange of events alone; idempotent."""
        self._types[topology.events] = "topic"
        self._bindings.setdefault(topology.events, {})

    def check(self, topology: Topology) -> None:
        """Raise InstallationMismatch if another installation was declared."""
        if self._installation:
            self._installation.check(topology)

    def close_intake(self, topology: Topology, moving_to: int) -> None:
        """Let no queue take inputs for its partition any more."""
        self._installation = Installation.of(topology).model_copy(update={"moving_to": moving_to})
        self._bindings[topology.inbound] = {}

    def open_intake(self, topology: Topology) -> None:
        """Declare a topology, whatever was declared before."""
        self._installation = None
        self.declare(topology)

    def declare_queue(self, queue: Queue) -> MemoryQueue:
        """Declare a queue and bind it; idempotent. Raises Unroutable for an unknown exchange, TopologyMismatch."""
        there = self._queues.get(queue.name)
        if there is not None and there.queue.arguments != queue.arguments:
            raise TopologyMismatch(
                f"queue {queue.name!r} exists with other arguments: drain and delete it, or use another name",
                kind="queue",
                name=queue.name,
            )
        for binding in queue.bindings:
            self._bind(queue.name, binding)
        return self._queues.setdefault(queue.name, there or MemoryQueue(queue, self._dead_letter))

    def delete_queue(self, name: str) -> None:
        """Delete a queue with what is in it."""
        self._queues.pop(name, None)
        for bindings in self._bindings.values():
            for key, queues in list(bindings.items()):
                queues.discard(name)
                if not queues:
                    del bindings[key]

    def queue(self, name: str) -> MemoryQueue:
        """Return a queue. Raises Unroutable if there is none of this name."""
        if name not in self._queues:
            raise Unroutable(f"there is no queue {name!r}: declare the topology first")
        return self._queues[name]

    def route(
        self, exchange: str, routing_key: str, message: Message, *, mandatory: bool, user: str | None = None
    ) -> None:
        """Put a message into every queue that it belongs to, once. Raises Unroutable as `Bus.publish` does.

        Headers that say where it died are the broker's to write.
        """
        if message.headers.keys() & _DEATHS:
            message = replace(message, headers={k: v for k, v in message.headers.items() if k not in _DEATHS})
        self._route(exchange, routing_key, message, mandatory=mandatory, user=user)

    def _route(self, exchange: str, routing_key: str, message: Message, *, mandatory: bool, user: str | None) -> None:
        names = self._destinations(exchange, routing_key)
        if mandatory and not names:
            raise Unroutable(f"no queue takes routing key {routing_key!r} on exchange {exchange!r}: declare it first")
        for name in names:
            self._queues[name].put(exchange, routing_key, message, user)

    def hand_over(self, exchange: str, routing_key: str, handed: HandedOver, user: str | None) -> None:
        """Put a command into the queue that it belongs to. Raises Unroutable."""
        names = self._destinations(exchange, routing_key)
        if not names:
            raise Unroutable(f"no queue takes routing key {routing_key!r} on exchange {exchange!r}: declare it first")
        for name in names:
            self._queues[name].hand_over(exchange, routing_key, handed, user)

    def hears(self, exchange: str, routing_key: str) -> bool:
        """Whether a message would go into any queue, or be refused as there is no exchange."""
        return exchange not in self._types or bool(self._destinations(exchange, routing_key))

    def _bind(self, queue: str, binding: Binding) -> None:
        if binding.exchange not in self._bindings:
            raise Unroutable(f"there is no exchange {binding.exchange!r}: declare the topology first")
        self._bindings[binding.exchange].setdefault(binding.routing_key, set()).add(queue)

    def _destinations(self, exchange: str, routing_key: str) -> set[str]:
        if exchange == "":
            return {routing_key} & self._queues.keys()
        if exchange not in self._types:
            raise Unroutable(f"there is no exchange {exchange!r}: declare the topology first")
        kind, bindings = self._types[exchange], self._bindings[exchange]
        match kind:
            case "fanout":
                return {queue for queues in bindings.values() for queue in queues}
            case "topic":
                return {
                    queue
                    for pattern, queues in bindings.items()
                    if topic_matches(pattern, routing_key)
                    for queue in queues
                }
            case _:
                return bindings.get(routing_key, set())

    def _dead_letter(self, queue: Queue, stored: Stored, reason: str) -> None:
        """Pass on what its queue gives up, with the headers that RabbitMQ sets; without an exchange it is gone."""
        exchange = queue.arguments.get("x-dead-letter-exchange")
        if exchange is None:
            return
        death = {DEATH_QUEUE: queue.name, DEATH_REASON: reason, DEATH_EXCHANGE: stored.exchange}
        dead = replace(stored.message, headers=dict(stored.message.headers) | death)
        self._route(str(exchange), stored.routing_key, dead, mandatory=False, user=stored.user)
