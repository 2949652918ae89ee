"""Method, header and body frames as bytes, several at a time for one write.

Source: AMQP 0-9-1 specification, sections 2.3.5 (frames) and 4.2.6 (content); encoded by pamqp.
"""

import struct
from typing import Final

from aiormq import spec
from pamqp.frame import marshal
from pamqp.header import ContentHeader

from agentbus.workers.bus.port import Message
from agentbus.workers.bus.rabbit.wire import BODY, END, FRAME, HEADER, METHOD

_PERSISTENT: Final = 2
_MODE: Final = bytes((_PERSISTENT,))
_END: Final = bytes((END,))
_HEADER: Final = struct.Struct(">BHIHHQH")
"""A frame's kind, channel and size; the class of a content, its weight, its body's size, which properties follow."""
_FLAGS: Final = spec.Basic.Properties.flags
_PLAIN: Final = _FLAGS["content_type"] | _FLAGS["delivery_mode"] | _FLAGS["message_id"]
_CORRELATION: Final = _FLAGS["correlation_id"]
_REPLY_TO: Final = _FLAGS["reply_to"]
_USER: Final = _FLAGS["user_id"]
_MOST_ROUTES: Final = 1000
_MOST_BODY: Final = 128 * 1024
"""Bytes of a body in one frame where the broker sets no limit."""
_SETTLING: Final = struct.Struct(">BHIIQBB")
"""A frame's kind, channel and size; a method, a delivery's tag, bits, the end of the frame."""


class PublishFrames:
    """Encodes what is published on one channel; `user` is whom the messages name as their publisher, if given.

    The method is the same for all messages of a route, and encoded once. A header is put together here unless the
    message has headers of its own.
    """

    def __init__(self, number: int, most_body: int, user: str | None) -> None:
        self._number = number
        self._most_body = most_body if most_body > 0 else _MOST_BODY
        self._user = user
        self._last = short_text(user) if user else b""
        self._methods: dict[tuple[str, str, bool], bytes] = {}

    def of(self, exchange: str, routing_key: str, message: Message, *, mandatory: bool) -> list[bytes]:
        """Return the frames of one publish.

        Raises ValueError or TypeError for a name or header that AMQP can't carry.
        """
        body = message.body
        frames = [self._method(exchange, routing_key, mandatory), self._header(message, len(body))]
        if 0 < len(body) <= self._most_body:
            frames += (FRAME.pack(BODY, self._number, len(body)), body, _END)
            return frames
        for start in range(0, len(body), self._most_body):
            piece = body[start : start + self._most_body]
            frames += (FRAME.pack(BODY, self._number, len(piece)), piece, _END)
        return frames

    def _method(self, exchange: str, routing_key: str, mandatory: bool) -> bytes:
        key = exchange, routing_key, mandatory
        method = self._methods.get(key)
        if method is None:
            publish = spec.Basic.Publish(exchange=exchange, routing_key=routing_key, mandatory=mandatory)
            method = marshal(publish, self._number)
            if len(self._methods) >= _MOST_ROUTES:
                self._methods.clear()
            self._methods[key] = method
        return method

    def _header(self, message: Message, size: int) -> bytes:
        if message.headers:
            properties = _properties(message, self._user)
            return marshal(ContentHeader(properties=properties, body_size=size), self._number)
        flags = _PLAIN
        values = [short_text(message.content_type), _MODE]
        if message.correlation_id:
            flags |= _CORRELATION
            values.append(short_text(message.correlation_id))
        if message.reply_to:
            flags |= _REPLY_TO
            values.append(short_text(message.reply_to))
        values.append(short_text(message.message_id))
        if self._last:
            flags |= _USER
            values.append(self._last)
        text = b"".join(values)
        return b"".join((_HEADER.pack(HEADER, self._number, 14 + len(text), 60, 0, size, flags), text, _END))


def short_text(text: str) -> bytes:
    """Encode text of up to 255 bytes. Raises ValueError for a longer one."""
    encoded = text.encode()
    return bytes((len(encoded),)) + encoded  # of more than 255 `bytes` makes a ValueError


def ack_frame(number: int, tag: int, *, multiple: bool) -> bytes:
    """Encode an acknowledgement of one delivery, or of all up to it."""
    return _SETTLING.pack(METHOD, number, 13, spec.Basic.Ack.index, tag, multiple, END)


def reject_frame(number: int, tag: int, *, requeue: bool) -> bytes:
    """Encode the return of one delivery to its queue, or its way out of it: to where it dead-letters."""
    return _SETTLING.pack(METHOD, number, 13, spec.Basic.Reject.index, tag, requeue, END)


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
