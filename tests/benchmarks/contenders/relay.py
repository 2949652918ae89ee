"""The ceiling for a Python worker on aio-pika: `python -m tests.benchmarks.contenders.relay PREFETCH`.

Consume, confirmed publish, ack: nothing is read, decided or kept. aio-pika runs each delivery as a task of its own,
so that up to PREFETCH confirms are awaited at a time. Publishing has a connection of its own.
"""

import asyncio
import signal
import sys

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

from agentbus.settings import load_settings
from tests.benchmarks.layout import INBOUND, TOPIC, TOPOLOGY


async def relay(amqp_url: str, prefetch: int) -> None:
    """Pass messages on until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    incoming, outgoing = await aio_pika.connect_robust(amqp_url), await aio_pika.connect_robust(amqp_url)
    async with incoming, outgoing:
        publishing = await outgoing.channel(publisher_confirms=True)
        events = await publishing.get_exchange(TOPOLOGY.events)

        async def pass_on(message: AbstractIncomingMessage) -> None:
            event = aio_pika.Message(
                message.body,
                message_id=message.message_id,
                content_type=message.content_type,
                delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            )
            await events.publish(event, TOPIC)
            await message.ack()

        channel = await incoming.channel()
        await channel.set_qos(prefetch_count=prefetch)
        queue = await channel.get_queue(INBOUND)
        await queue.consume(pass_on)
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(relay(load_settings().bus.amqp_url, int(sys.argv[1])))
