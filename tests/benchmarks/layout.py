"""Where the messages of a run lie on the broker: in AgentBus' partition queues, or in the one queue of the others.

All inbound queues and the queue of events are durable quorum queues with the same delivery limit.
"""

from collections.abc import Callable
from typing import Final

from agentbus.contracts.ids import ConversationId
from agentbus.contracts.topology import DELIVERY_LIMIT, Arguments, Topology
from agentbus.workers.bus.rabbit.connections import Link, close_channel

TOPOLOGY: Final = Topology(partitions=32)
"""Four partitions for each of up to eight workers, as the settings advise."""
INBOUND: Final = "bench.inbound"
"""The queue of the contenders that don't know partitions; messages get there by the default exchange."""

EVENTS: Final = "bench.events"
"""The queue that gets every event, from the exchange that all contenders announce on."""

TOPIC: Final = "session.message.telegram"
"""The routing key that the others announce with; AgentBus derives the same."""

_QUORUM: Final[Arguments] = {"x-queue-type": "quorum", "x-delivery-limit": DELIVERY_LIMIT}


def _to_partition(conversation: ConversationId) -> tuple[str, str]:
    return TOPOLOGY.inbound, str(TOPOLOGY.partition_of(conversation))


WAYS: Final[dict[str, Callable[[ConversationId], tuple[str, str]]]] = {
    "queue": lambda _: ("", INBOUND),
    "partitions": _to_partition,
    "ingress": lambda _: (TOPOLOGY.ingress, ""),
}
"""By which exchange and routing key a message reaches its worker."""


async def declare(amqp_url: str) -> None:
    """Declare what every run needs beside AgentBus' own topology."""
    link = Link(amqp_url, name="bench.declare", heartbeat=10, wait=10)
    channel = await link.channel()
    await channel.exchange_declare(TOPOLOGY.events, exchange_type="topic", durable=True)
    for name in (INBOUND, EVENTS):
        await channel.queue_declare(name, durable=True, arguments=dict(_QUORUM))
    await channel.queue_bind(EVENTS, TOPOLOGY.events, "session.#")
    await close_channel(channel)
    await link.close()
