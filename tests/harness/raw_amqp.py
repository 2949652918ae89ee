"""Publishes what no library would write: content headers as raw bytes.

Source: AMQP 0-9-1 specification, sections 2.3.5 (frames) and 4.2.6.1 (content header).
"""

import struct
from collections.abc import Mapping
from typing import Final

from aiormq import spec
from aiormq.abc import ChannelFrame
from aiormq.channel import Channel
from pamqp.body import ContentBody
from pamqp.frame import marshal

FLAGS: Final = spec.Basic.Properties.flags
_METHOD, _HEADER, _END = 1, 2, b"\xce"
_PIECE: Final = 131_072 - 8
"""Bytes of a body that fit into one frame of the largest size that RabbitMQ agrees to by default."""


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    """Return a frame of any payload."""
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + _END


def short(value: bytes) -> bytes:
    """Return a short string of any bytes."""
    return bytes([len(value)]) + value


def table(fields: bytes) -> bytes:
    """Return a field table of any bytes."""
    return struct.pack(">I", len(fields)) + fields


def content_header(channel: int, properties: Mapping[str, bytes], size: int) -> bytes:
    """Return the frame of a content header whose properties are the bytes given, by name."""
    flags = sum(FLAGS[name] for name in properties)
    values = b"".join(properties[name] for name in FLAGS if name in properties)
    return frame(_HEADER, channel, struct.pack(">HHQH", spec.Basic.frame_id, 0, size, flags) + values)


async def publish_raw(
    channel: Channel, exchange: str, routing_key: bytes, body: bytes, properties: Mapping[str, bytes]
) -> None:
    """Publish, unconfirmed, with a routing key and properties of any bytes."""
    payload = publishing(channel.number, exchange, routing_key, body, properties)
    await channel.write_queue.put(ChannelFrame(payload=payload, should_close=False))


def publishing(
    number: int, exchange: str, routing_key: bytes, body: bytes, properties: Mapping[str, bytes], *, flags: int = 0
) -> bytes:
    """Return the frames that publish on channel `number`; `flags` 1 has what no queue takes returned."""
    arguments = struct.pack(">H", 0) + short(exchange.encode()) + short(routing_key) + bytes([flags])
    pieces = (body[start : start + _PIECE] for start in range(0, len(body), _PIECE))
    return b"".join(
        (
            frame(_METHOD, number, struct.pack(">I", spec.Basic.Publish.index) + arguments),
            content_header(number, properties, len(body)),
            *(marshal(ContentBody(piece), number) for piece in pieces),
        )
    )
