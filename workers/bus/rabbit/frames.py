"""Method, header and body frames as bytes, several at a time for one write.

Source: AMQP 0-9-1 specification, sections 2.3.5 (frames) and 4.2.6 (content); encoded by pamqp.
"""

import asyncio
from typing import Final

from aiormq import spec
from aiormq.abc import ChannelFrame
from aiormq.channel import Channel
from pamqp.body import ContentBody
from pamqp.frame import marshal
from pamqp.header import ContentHeader

from agentbus.workers.bus.port import Message

_PERSISTENT: Final = 2


def publish_frames(
    channel: Channel, exchange: str, routing_key: str, message: Message, *, mandatory: bool, user: str | None = None
) -> bytes:
    """Encode one publish, naming the broker's `user` if given.

    Raises ValueError or TypeError for a name or header that AMQP can't carry.
    """
    number = channel.number
    method = spec.Basic.Publish(exchange=exchange, routing_key=routing_key, mandatory=mandatory)
    header = ContentHeader(properties=_properties(message, user), body_size=len(message.body))
    step = channel.max_content_size
    pieces = (message.body[start : start + step] for start in range(0, len(message.body), step))
    return b"".join(
        (marshal(method, number), marshal(header, number), *(marshal(ContentBody(piece), number) for piece in pieces))
    )


def ack_frame(channel: Channel, tag: int, *, multiple: bool) -> bytes:
    """Encode an acknowledgement of one delivery, or of all up to it."""
    return marshal(spec.Basic.Ack(delivery_tag=tag, multiple=multiple), channel.number)


def reject_frame(channel: Channel, tag: int, *, requeue: bool) -> bytes:
    """Encode the return of one delivery to its queue, or its way out of it: to where it dead-letters."""
    return marshal(spec.Basic.Reject(delivery_tag=tag, requeue=requeue), channel.number)


async def write(channel: Channel, payload: bytes) -> None:
    """Hand encoded frames to the connection's writer; give up if the channel ends while its queue is full."""
    frame = ChannelFrame(payload=payload, should_close=False)
    if not channel.write_queue.full():
        channel.write_queue.put_nowait(frame)
        return
    writing, closing = asyncio.ensure_future(channel.write_queue.put(frame)), channel.closing
    try:
        await asyncio.wait({writing, closing}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        writing.cancel()
        closing.cancel()


def _properties(message: Message, user: str | None) -> spec.Basic.Properties:
    return spec.Basic.Properties(
        content_type=message.content_type,
        headers=dict(message.headers) or None,
        delivery_mode=_PERSISTENT,
        correlation_id=message.correlation_id,
        reply_to=message.reply_to,
        message_id=message.message_id,
        user_id=user,
    )
