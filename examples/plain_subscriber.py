"""Subscribe to AgentBus without AgentBus: plain aio-pika; prints messages until `COUNT` of them came.

Events come at least once, and with a sequence per session: drop repeats by `id`, see gaps by `sequence`.
"""

import asyncio
import json
import os

import aio_pika


async def main(count: int) -> None:
    url = os.environ.get("AGENTBUS_AMQP_URL", "amqp://guest:guest@localhost/")
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        events = await channel.declare_exchange("agentbus.events", "topic", durable=True)  # as the workers declare it
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(events, routing_key="session.message.*")
        print("listening", flush=True)
        seen = set()
        async with queue.iterator() as deliveries:
            async for delivery in deliveries:
                async with delivery.process():
                    event = json.loads(delivery.body)
                    if event["id"] not in seen:
                        seen.add(event["id"])
                        print(event["sequence"], event["data"]["message"]["content"]["text"], flush=True)
                if len(seen) >= count:
                    return


if __name__ == "__main__":
    asyncio.run(main(int(os.environ.get("COUNT", "1"))))
