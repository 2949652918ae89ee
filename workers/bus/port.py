"""The bus port: confirmed publishing, ordered consuming, requests and event subscriptions."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from types import TracebackType
from typing import Final, Self

from agentbus.contracts.commands import CommandReply
from agentbus.contracts.envelope import CONTENT_TYPE, Input, InputEnvelope
from agentbus.contracts.errors import BrokerBlocked, BrokerRejected, BrokerUnavailable, BusError, PublishUnconfirmed
from agentbus.contracts.ids import ConversationId, digest_of
from agentbus.contracts.topology import Queue, Topology
from agentbus.workers.concurrency import afterwards

Headers = Mapping[str, str | int]

DEATH_REASON: Final = "x-first-death-reason"
DEATH_QUEUE: Final = "x-first-death-queue"
DEATH_EXCHANGE: Final = "x-first-death-exchange"
"""Headers with which the broker dead-letters: of a delivery they are the broker's word, never the publisher's."""

SHORT_STRING: Final = 255
"""Bytes, not characters, that a name, a routing key, a message id or a correlation id has room for in AMQP."""

UNCERTAIN: Final = (BrokerBlocked, BrokerUnavailable, PublishUnconfirmed)
"""What a publish fails with that may succeed in a moment, or has already: it is made again with the same id."""

_SURELY_SHORT: Final = SHORT_STRING // 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """Something to publish."""

    body: bytes
    message_id: str
    """One that is longer than AMQP's 255 bytes travels as a digest of it."""
    content_type: str = CONTENT_TYPE
    headers: Headers = field(default_factory=dict)
    reply_to: str | None = None
    """Where the reply goes: kept when a request is passed on. `Bus.request` sets it itself."""
    correlation_id: str | None = None

    def __post_init__(self) -> None:
        if len(self.message_id) > _SURELY_SHORT and len(self.message_id.encode()) > SHORT_STRING:
            object.__setattr__(self, "message_id", digest_of((self.message_id,)))


class HandedOver:
    """A command that is handed over as it is, inside one process: its bytes are made once somebody needs them.

    Nobody may be able to change what it holds, and it must be sure to fit into an input.
    """

    __slots__ = ("_message", "conversation", "given", "reply", "source")

    def __init__(self, given: Input, conversation: ConversationId, source: str) -> None:
        self.given = given
        self.conversation = conversation
        self.source = source
        self.reply: asyncio.Future[CommandReply] | None = None
        """What whoever handed it over waits for; the bus's own."""
        self._message: Message | None = None

    @property
    def message(self) -> Message:
        """It as it would have travelled."""
        if self._message is None:
            given = self.given
            sent = InputEnvelope(id=given.id, source=self.source, partitionkey=self.conversation, data=given.data)
            self._message = Message(body=sent.to_bytes(), message_id=given.id)
        return self._message


class Delivery(ABC):
    """Something that was delivered; acknowledged once, by whoever handled it."""

    __slots__ = ()

    handed: HandedOver | None = None
    """What is in the body, where it was handed over without being written."""
    body: bytes
    message_id: str
    """Empty if the publisher gave none."""
    queue: str
    attempts: int
    """Deliveries up to and including this one, as far as the broker counts them."""
    headers: Headers
    reply_to: str | None
    """Where a reply may go (`Topology.takes_reply`); None if there is no such place."""
    correlation_id: str | None
    user: str | None = None
    """The broker user who published it, as far as it says so: the broker lets nobody name another one."""

    @property
    def redelivered(self) -> bool:
        """Whether it may have been handled before."""
        return self.attempts > 1

    @property
    @abstractmethod
    def settled(self) -> bool:
        """Whether it was acknowledged or handed back."""

    @abstractmethod
    async def ack(self) -> None:
        """Say that it was handled. Does nothing once its consumer is gone: it will be delivered again."""

    @abstractmethod
    async def requeue(self) -> None:
        """Hand it back, to the place it came from. Does nothing once its consumer is gone."""


OnDelivery = Callable[[Delivery], None]
"""Called synchronously for each delivery, in queue order: put it somewhere, don't work on it.

Must not raise. If it does the delivery is dead-lettered, or, where that is not possible, handed back (what is parked)
or dropped (a live subscription's); the log says so, and the next ones are delivered.
"""


class Consumer(ABC):
    """A running subscription to one queue, on a channel of its own."""

    lost: asyncio.Event
    """Set when it ended by itself: connection or channel gone, queue deleted. What was unacked is delivered again."""

    @abstractmethod
    async def close(self) -> None:
        """End it by closing its channel: what is unacked goes back to the queue in its order. Idempotent."""


@dataclass(frozen=True, slots=True)
class BusInfo:
    """What a bus says of itself."""

    kind: str
    version: str


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """How full a queue is."""

    ready: int
    """Messages that wait; what is delivered and not acknowledged is not among them."""
    consumers: int
    """Consumers that get deliveries: on a queue with a single active consumer, at most one."""


class Bus(ABC):
    """Moves bytes. Used as an async context manager.

    After a lost connection publishing reconnects by itself; consumers are told (`Consumer.lost`) and are started
    again by whoever needs them.

    A publish that returns was confirmed by the broker and is on disk. Every call may raise BrokerUnavailable
    (transient) or BrokerRejected. One that is cancelled ends soon and leaves no consumer or channel behind; a publish
    may have been done. A `start` that was cancelled goes on until `close`.
    """

    topology: Topology
    user: str | None = None
    """Who we are to the broker: named on all that is published. None if it can't be known."""
    on_reconnect: Callable[[], None] = staticmethod(lambda: None)
    """Called for each connection that was lost and is there again."""
    on_published: Callable[[str, int, float | None], None] = staticmethod(lambda *_: None)
    """Called by a broker's bus with an exchange, how many messages were confirmed, and within how many seconds.

    None where that is not known, as something else was waited for too.
    """

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await afterwards("close the bus", self.close())  # Nobody else will: the body is not entered.
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @abstractmethod
    async def start(self) -> None:
        """Connect. Waits for a broker that is not there yet, saying so in the log, up to the time set."""

    @abstractmethod
    async def close(self) -> None:
        """Close consumers and connections. Idempotent."""

    @abstractmethod
    async def info(self) -> BusInfo:
        """Ask the broker who it is."""

    @abstractmethod
    async def declare(self) -> None:
        """Declare the topology's exchanges, queues and bindings, and which installation they are; idempotent.

        Raises InstallationMismatch if they are another's, with other partitions or another scope; TopologyMismatch if
        one exists with other arguments: which one, which argument, what to do.
        """

    @abstractmethod
    async def check(self) -> None:
        """Raise InstallationMismatch if the installation declared on the broker has other partitions or another scope.

        Needs no rights on the broker. Nothing declared, or by a release that did not say which, is no mismatch.
        """

    @abstractmethod
    async def close_intake(self, moving_to: int) -> None:
        """Take no inputs for the partitions any more, as their number is going to be `moving_to`. Idempotent.

        Publishing one raises Unroutable from now on, and `declare` and `check` raise InstallationMismatch, until
        `open_intake`. What was published before stays in its queue.
        """

    @abstractmethod
    async def open_intake(self) -> None:
        """Declare the topology in the place of the one that was closed. Idempotent."""

    @abstractmethod
    async def declare_queue(self, queue: Queue) -> None:
        """Declare one queue with its bindings; idempotent. Raises as `declare` does."""

    @abstractmethod
    async def delete_queue(self, queue: str) -> None:
        """Delete a queue with what is in it. Idempotent."""

    @abstractmethod
    async def declare_subscription(self, name: str, patterns: tuple[str, ...]) -> None:
        """Declare the queue of the durable subscription `name`, for those who consume it by other means; idempotent.

        The exchange of events is declared with it if it is missing. Raises TopologyMismatch as `declare` does.
        """

    @abstractmethod
    async def depth(self, queue: str) -> QueueDepth:
        """Return how full a queue is. Raises Unroutable if there is no such queue."""

    @abstractmethod
    async def publish(self, exchange: str, routing_key: str, message: Message, *, mandatory: bool = True) -> None:
        """Publish one message, persistent and confirmed.

        Raises Unroutable if it is mandatory and no queue takes it; BrokerBlocked if the broker takes no publishes for
        now (memory or disk alarm); PublishUnconfirmed if no confirm came in time or
        the broker refused it (retry with the same message id).
        """

    @abstractmethod
    async def publish_many(
        self, exchange: str, messages: Sequence[tuple[str, Message]], *, mandatory: bool = True
    ) -> list[BusError | None]:
        """Publish (routing key, message) pairs in their order, inside a window of confirms.

        Returns for each, in order, None or why it failed, as `publish` would have raised it.
        """

    @abstractmethod
    async def request(self, exchange: str, routing_key: str, message: Message, *, timeout: float) -> bytes:
        """Publish a message and wait `timeout` seconds for its reply (direct reply-to). Raises ReplyTimeout."""

    @abstractmethod
    async def reply(self, delivery: Delivery, body: bytes) -> None:
        """Answer a request. Not confirmed: a caller that is gone, or never gets it, asks again."""

    @abstractmethod
    async def consume(self, queue: str, on_delivery: OnDelivery, *, prefetch: int, priority: int = 0) -> Consumer:
        """Consume a queue in order.

        On a partition queue or the ingress the oldest consumer alone gets deliveries, the next one follows when it
        is gone; from RabbitMQ 4.0 on, one of higher `priority` goes before the oldest.
        Raises Unroutable if there is no such queue.
        """

    @abstractmethod
    async def subscribe(
        self,
        patterns: tuple[str, ...],
        on_delivery: OnDelivery,
        *,
        durable: str | None = None,
        ordered: bool = False,
        prefetch: int = 50,
    ) -> Consumer:
        """Consume the events whose routing key matches one of `patterns` (topic rules: `*` one word, `#` any).

        `durable` names a queue that keeps events while nobody consumes. Several consumers of one name share the
        events; if it is `ordered`, the oldest alone gets them. Without that even a single consumer may see them out of
        order after a lost connection, while the broker still counts the one that is gone. Without `durable` the
        subscription is live: from now on, and gone when it is closed. The exchange of events is declared if it is
        missing, so that whoever subscribes need not come after the first worker.

        Raises TopologyMismatch if there is a durable one of that name which is not `ordered` as this one is.
        """

    hands_over = False
    """Whether a command can be handed over as it is: where its owner is in this process, and nowhere else."""

    async def hand_over(
        self,
        exchange: str,  # noqa: ARG002 - one can
        routing_key: str,  # noqa: ARG002 - one can
        handed: HandedOver,  # noqa: ARG002 - one can
        *,
        timeout: float,  # noqa: ARG002 - one can
    ) -> CommandReply:
        """Hand a command over, in its turn among all that is published, and wait for its reply as `request` does.

        Raises Unroutable if no queue takes it, ReplyTimeout; BrokerRejected where commands can't be handed over.
        """
        raise BrokerRejected("this bus hands nothing over")

    async def answer(self, delivery: Delivery, reply: CommandReply) -> None:
        """Answer a request with a reply to a command. Not confirmed, as `reply`."""
        await self.reply(delivery, reply.model_dump_json(exclude_none=True).encode())

    def hears(self, topic: str) -> bool:  # noqa: ARG002 - one knows
        """Return whether anybody would be told of an event with this routing key, as far as this process knows."""
        return True

    def heard_until(self) -> float:
        """Return before which moment, by `monotonic`, all that was published is safe for the durable subscriptions.

        inf if all is. A broker keeps events for them, whatever becomes of this process; where the process alone does,
        one is safe once each subscription that it belongs to has acknowledged it.
        """
        return inf
