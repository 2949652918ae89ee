"""The bus topology as data: exchanges, queues and their arguments. Plain RabbitMQ, no plugin."""

from typing import Final, Literal

from pydantic import Field

from agentbus.contracts.address import Scope
from agentbus.contracts.base import Contract, Many
from agentbus.contracts.ids import ConversationId, Partition, partition_for

DEFAULT_PARTITIONS: Final = 64
MAX_PARTITIONS: Final = 4096
DELIVERY_LIMIT: Final = 1000
"""Deliveries of one message before the broker dead-letters it. Explicit, because without a limit a quorum queue puts a
requeued message at the back; high, because every hand-back of a partition counts as one."""

PARKED_DELIVERY_LIMIT: Final = 1_000_000_000
"""The parking queue is the end of the road: nothing may be dropped from it however often its recorder dies."""

DIRECT_REPLY_TO: Final = "amq.rabbitmq.reply-to"
"""RabbitMQ's name for replies that go back by the channel that asked; deliveries name it with a token behind a dot."""

Arguments = dict[str, str | int | bool]


class Exchange(Contract):
    """An exchange to declare; always durable."""

    name: str
    type: Literal["direct", "topic", "fanout"]
    alternate: str | None = None
    """The exchange that gets what this one can't route. The broker compares it when the exchange is declared again."""


class Binding(Contract):
    """Which routing key of which exchange leads to a queue."""

    exchange: str
    routing_key: str


class Queue(Contract):
    """A queue to declare; always durable."""

    name: str
    arguments: Arguments
    bindings: Many[Binding] = ()


class Topology(Contract):
    """Names and arguments of everything that AgentBus declares on the broker."""

    prefix: str = Field(default="agentbus", pattern=r"^[a-z][a-z0-9_-]{0,63}$")
    partitions: int = Field(default=DEFAULT_PARTITIONS, ge=1, le=MAX_PARTITIONS)
    delivery_limit: int = Field(default=DELIVERY_LIMIT, ge=1)
    scope: Scope = Scope.PER_CHAT_USER

    @property
    def installation(self) -> str:
        """The exchange that says which installation this is: its alternate is named after it, see `declaration`."""
        return f"{self.prefix}.installation"

    @property
    def declaration(self) -> str:
        """The exchange that is there if and only if the installation has these partitions and this scope.

        Nothing is published to it. Whoever may not declare can still ask whether it is there.
        """
        return f"{self.installation}.{self.partitions}.{self.scope}"

    @property
    def inbound(self) -> str:
        """The direct exchange for messages and commands; the routing key is the partition."""
        return f"{self.prefix}.inbound"

    @property
    def ingress(self) -> str:
        """Exchange and queue for publishers that don't compute partitions."""
        return f"{self.prefix}.ingress"

    @property
    def events(self) -> str:
        """The topic exchange that session events are announced on."""
        return f"{self.prefix}.events"

    @property
    def parked(self) -> str:
        """Exchange and queue for inputs on their way to the parked record in the store."""
        return f"{self.prefix}.parked"

    def partition_of(self, conversation_id: ConversationId) -> Partition:
        """Return the conversation's partition."""
        return partition_for(conversation_id, self.partitions)

    def partition_queue(self, partition: Partition) -> str:
        """Return the name of a partition's queue."""
        return f"{self.prefix}.inbound.{partition}"

    def routing_key(self, partition: Partition) -> str:
        """Return the routing key of a partition for those who know the number: no queue takes it once that changed."""
        return f"{partition}/{self.partitions}"

    def partition_bindings(self, partition: Partition) -> tuple[Binding, ...]:
        """Return what leads to a partition's queue: its routing key, and its bare number, for publishers elsewhere."""
        keys = (self.routing_key(partition), str(partition))
        return tuple(Binding(exchange=self.inbound, routing_key=key) for key in keys)

    @property
    def moving(self) -> str:
        """The queue that keeps what waits in the partitions while their number is changed."""
        return f"{self.prefix}.moving"

    def moving_queue(self) -> Queue:
        """Return the queue `moving`; it is there for as long as the change takes."""
        return Queue(name=self.moving, arguments=self._ordered())

    def subscription_queue(self, name: str) -> str:
        """Return the name of a durable subscription's queue."""
        return f"{self.prefix}.subscription.{name}"

    def reply_queue(self, name: str) -> str:
        """Return the name that a caller's own queue for replies must have, if it takes no direct replies."""
        return f"{self.prefix}.reply.{name}"

    def takes_reply(self, address: str) -> bool:
        """Whether a reply may go to `address`: anywhere else, workers would write for whoever may only publish."""
        return address.startswith((f"{DIRECT_REPLY_TO}.", self.reply_queue("")))

    def is_partition(self, queue: str) -> bool:
        """Whether a queue is a partition's: one of this number of partitions, or of a larger one before."""
        head, _, number = queue.rpartition(".")
        return head == self.inbound and number.isascii() and number.isdigit()

    def way_back(self, queue: str) -> tuple[str, str] | None:
        """Return the exchange and routing key by which something gets back to `queue`; None if it is not ours."""
        if queue == self.ingress:
            return self.ingress, ""
        if self.is_partition(queue):
            return self.inbound, queue.rpartition(".")[2]
        return ("", queue) if queue.startswith(self.subscription_queue("")) else None

    def all_partitions(self) -> tuple[Partition, ...]:
        """Return every partition, in order."""
        return tuple(Partition(number) for number in range(self.partitions))

    def marks(self) -> tuple[Exchange, Exchange]:
        """Return the exchanges that say which installation this is: `installation`, then `declaration`."""
        return (
            Exchange(name=self.installation, type="fanout", alternate=self.declaration),
            Exchange(name=self.declaration, type="fanout"),
        )

    def exchanges(self) -> tuple[Exchange, ...]:
        """Return the exchanges to declare, besides the `marks`."""
        return (
            Exchange(name=self.inbound, type="direct"),
            Exchange(name=self.ingress, type="fanout"),
            Exchange(name=self.events, type="topic"),
            Exchange(name=self.parked, type="fanout"),
        )

    def queues(self) -> tuple[Queue, ...]:
        """Return the queues to declare: parking, ingress, then the partitions in order."""
        return (
            Queue(
                name=self.parked,
                arguments=QUORUM | {"x-delivery-limit": PARKED_DELIVERY_LIMIT},
                bindings=(Binding(exchange=self.parked, routing_key=""),),
            ),
            Queue(
                name=self.ingress,
                arguments=self._ordered(),
                bindings=(Binding(exchange=self.ingress, routing_key=""),),
            ),
            *(
                Queue(
                    name=self.partition_queue(partition),
                    arguments=self._ordered(),
                    bindings=self.partition_bindings(partition),
                )
                for partition in self.all_partitions()
            ),
        )

    def subscription(self, name: str, patterns: tuple[str, ...], *, ordered: bool = False) -> Queue:
        """Return the queue of a durable subscription to the event topics `patterns`; `ordered`: to one at a time."""
        return Queue(
            name=self.subscription_queue(name),
            arguments=self._ordered() if ordered else self._dead_lettering(),
            bindings=tuple(Binding(exchange=self.events, routing_key=pattern) for pattern in patterns),
        )

    def _ordered(self) -> Arguments:
        """Return the arguments of a queue that is consumed in order, by one consumer at a time."""
        return self._dead_lettering() | {"x-single-active-consumer": True}

    def _dead_lettering(self) -> Arguments:
        """Return the arguments of a queue that never drops: what fails for good goes to the parking queue."""
        return QUORUM | {
            "x-delivery-limit": self.delivery_limit,
            "x-overflow": "reject-publish",
            "x-dead-letter-exchange": self.parked,
            "x-dead-letter-strategy": "at-least-once",
        }


QUORUM: Final[Arguments] = {"x-queue-type": "quorum"}
