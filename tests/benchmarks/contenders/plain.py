"""The consumer that teams write: FastStream and motor; `python -m tests.benchmarks.contenders.plain PREFETCH`.

Validate, one `update_one` with `$push`, one confirmed publish, ack. Written as a careful team would: a quorum queue,
a bounded prefetch, the message read by pydantic in one step, no log line per message, persistent confirmed events,
and the same durability of writes as AgentBus has (majority, journaled).
"""

import asyncio
import sys
from datetime import UTC, datetime
from typing import Any, Final

from faststream import AckPolicy, FastStream
from faststream.rabbit import Channel, ExchangeType, RabbitBroker, RabbitExchange, RabbitMessage, RabbitQueue
from motor.motor_asyncio import AsyncIOMotorClient
from pydantic import BaseModel

from agentbus.settings import load_settings
from tests.benchmarks.layout import INBOUND, TOPIC, TOPOLOGY

SESSIONS: Final = "sessions"


class Address(BaseModel):
    """Where a message came from."""

    platform: str
    chat: str
    user: str


class Content(BaseModel):
    """What it says."""

    kind: str
    text: str


class ChatMessage(BaseModel):
    """A chat message."""

    address: Address
    message_id: str
    sent_at: datetime
    sender_name: str | None = None
    content: Content


class Inbound(BaseModel):
    """A chat message as it arrives."""

    id: str
    partitionkey: str
    data: ChatMessage


class Entry(BaseModel):
    """A message in a session's history."""

    id: str
    message_id: str
    sender: str | None
    text: str
    sent_at: datetime


class Appended(BaseModel):
    """What an event tells."""

    kind: str = "message_appended"
    address: Address
    message: Entry


class Event(BaseModel):
    """An event of a session."""

    id: str
    type: str = "session.message"
    partitionkey: str
    time: datetime
    data: Appended


def entry_of(inbound: Inbound) -> Entry:
    """Return a message as the history keeps it."""
    data = inbound.data
    return Entry(
        id=inbound.id,
        message_id=data.message_id,
        sender=data.sender_name,
        text=data.content.text,
        sent_at=data.sent_at,
    )


async def decode(message: RabbitMessage) -> Inbound:
    """Read a message's body."""
    return Inbound.model_validate_json(message.body)


def make_app(amqp_url: str, store_url: str, prefetch: int) -> FastStream:
    """Put the consumer together."""
    broker = RabbitBroker(amqp_url, default_channel=Channel(prefetch_count=prefetch), logger=None)
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(store_url, w="majority", journal=True)
    sessions = client.get_default_database()[SESSIONS]
    events = RabbitExchange(TOPOLOGY.events, type=ExchangeType.TOPIC, durable=True)

    @broker.subscriber(RabbitQueue(INBOUND, declare=False), decoder=decode, ack_policy=AckPolicy.NACK_ON_ERROR)
    async def handle(inbound: Inbound) -> None:
        now = datetime.now(UTC)
        entry = entry_of(inbound)
        await sessions.update_one(
            {"_id": inbound.partitionkey},
            {
                "$push": {"history": entry.model_dump()},
                "$set": {"last_activity": now},
                "$setOnInsert": {"created_at": now, "address": inbound.data.address.model_dump()},
            },
            upsert=True,
        )
        event = Event(
            id=inbound.id,
            partitionkey=inbound.partitionkey,
            time=now,
            data=Appended(address=inbound.data.address, message=entry),
        )
        await broker.publish(event, exchange=events, routing_key=TOPIC, persist=True, message_id=event.id)

    return FastStream(broker, logger=None)


def main() -> None:
    """Run it until SIGTERM."""
    settings = load_settings()
    app = make_app(settings.bus.amqp_url, settings.store.store_url, int(sys.argv[1]))
    asyncio.run(app.run())


if __name__ == "__main__":
    main()
