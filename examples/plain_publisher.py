"""Publish to AgentBus without AgentBus: plain aio-pika and JSON by the published schema (`input.json`).

Any AMQP client in any language can do the same. A publisher that doesn't compute partitions sends to the exchange
`agentbus.ingress`; an ingress router (`agentbus worker ingress`) does the rest. The first worker, or
`agentbus topology declare`, declares it.
"""

import asyncio
import json
import os
from datetime import UTC, datetime
from uuid import uuid4

import aio_pika


async def main() -> None:
    url = os.environ.get("AGENTBUS_AMQP_URL", "amqp://guest:guest@localhost/")
    message_id = uuid4().hex
    input_id = f"web-lobby-{message_id}"  # the same id again changes nothing
    envelope = {
        "specversion": "1.0",
        "type": "agentbus.input.v1",
        "source": "/my-service",
        "id": input_id,
        "data": {
            "kind": "message",
            "address": {"platform": "web", "chat": "lobby", "user": "grace"},
            "message_id": message_id,
            "sent_at": datetime.now(UTC).isoformat(),
            "content": {"kind": "text", "text": "Hello from outside!"},
        },
    }
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel(publisher_confirms=True)
        ingress = await channel.get_exchange("agentbus.ingress")
        message = aio_pika.Message(
            json.dumps(envelope).encode(),
            content_type="application/cloudevents+json",
            message_id=input_id,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )
        await ingress.publish(message, routing_key="", mandatory=True, timeout=10)
    print(f"confirmed: {input_id}")


if __name__ == "__main__":
    asyncio.run(main())
