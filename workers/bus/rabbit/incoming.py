"""Contents as they arrive: a header, of which no more is read than is needed, and the pieces of a body.

A header that is not what ours look like (with headers of its own, a time, text that is not UTF-8, one cut short) is
read by `decoding`, which reads whatever RabbitMQ passes on.

Source: AMQP 0-9-1 specification, section 4.2.6 (content).
"""

import struct
from collections.abc import Mapping
from typing import Final, NamedTuple

from aiormq import spec
from pamqp.common import FieldValue
from pamqp.header import ContentHeader

from agentbus.workers.bus.rabbit.decoding import unmarshal
from agentbus.workers.bus.rabbit.wire import BODY, END, FRAME, HEADER, BadFrame

_SIZE_AND_FLAGS: Final = struct.Struct(">QH")
_CLASS_AND_WEIGHT: Final = 4
_BEFORE_PROPERTIES: Final = _CLASS_AND_WEIGHT + _SIZE_AND_FLAGS.size

_FLAGS: Final = spec.Basic.Properties.flags
_TYPE: Final = _FLAGS["content_type"]
_MODE: Final = _FLAGS["delivery_mode"]
_CORRELATION: Final = _FLAGS["correlation_id"]
_REPLY_TO: Final = _FLAGS["reply_to"]
_ID: Final = _FLAGS["message_id"]
_USER: Final = _FLAGS["user_id"]
_OTHERS: Final = 0xFFFF & ~(_TYPE | _MODE | _CORRELATION | _REPLY_TO | _ID | _USER)


class Properties(NamedTuple):
    """What is read of a content's properties."""

    message_id: str | None
    correlation_id: str | None
    reply_to: str | None
    user_id: str | None
    headers: Mapping[str, FieldValue] | None


class Content:
    """Puts one content after the other together."""

    __slots__ = ("_left", "_pieces", "body", "expects", "properties")

    def __init__(self) -> None:
        self.expects = 0
        """The kind of frame that comes next; 0 while there is no content."""
        self.properties = Properties(None, None, None, None, None)
        self.body = b""
        self._left = 0
        self._pieces: list[bytes] = []

    def begin(self) -> None:
        """Expect the content of the method that was just read."""
        if self.expects:
            raise BadFrame("a method in the middle of a content")
        self.expects = HEADER

    def add(self, kind: int, data: bytes, start: int, end: int) -> bool:
        """Take the next frame of the content; return whether that makes it whole.

        Raises BadFrame, struct.error or ValueError for one that is not what comes next.
        """
        if kind != self.expects:
            raise BadFrame(f"a frame of kind {kind} where one of kind {self.expects} comes next")
        if kind == HEADER:
            size, flags = _SIZE_AND_FLAGS.unpack_from(data, start + _CLASS_AND_WEIGHT)
            self.properties = properties_of(data, start, end, flags)
            self._left, self.body = size, b""
            self.expects = BODY if size else 0
            return not size
        self._left -= end - start
        if self._left < 0:
            raise BadFrame("a body longer than its header says")
        if self._left or self._pieces:
            self._pieces.append(data[start:end])
            if self._left:
                return False
            self.body = b"".join(self._pieces)
            self._pieces = []
        else:
            self.body = data[start:end]
        self.expects = 0
        return True


def properties_of(data: bytes, start: int, end: int, flags: int) -> Properties:
    """Read the properties of the content header whose payload lies in `data` from `start` to `end`."""
    if flags & _OTHERS:
        return _read_whole(data, start, end)
    at = start + _BEFORE_PROPERTIES
    correlation = reply_to = message_id = user = None
    try:
        if flags & _TYPE:
            at += 1 + data[at]
        if flags & _MODE:
            at += 1
        if flags & _CORRELATION:
            begun, at = at + 1, at + 1 + data[at]
            correlation = data[begun:at].decode()
        if flags & _REPLY_TO:
            begun, at = at + 1, at + 1 + data[at]
            reply_to = data[begun:at].decode()
        if flags & _ID:
            begun, at = at + 1, at + 1 + data[at]
            message_id = data[begun:at].decode()
        if flags & _USER:
            begun, at = at + 1, at + 1 + data[at]
            user = data[begun:at].decode()
    except (UnicodeDecodeError, IndexError):
        return _read_whole(data, start, end)
    if at > end:  # cut short: it read on into what comes after it
        return _read_whole(data, start, end)
    return Properties(message_id, correlation, reply_to, user, None)


def _read_whole(data: bytes, start: int, end: int) -> Properties:
    payload = data[start:end]
    header = unmarshal(FRAME.pack(HEADER, 0, len(payload)) + payload + bytes([END]))[2]
    if not isinstance(header, ContentHeader):
        raise BadFrame("a content header that is none")
    read = header.properties
    return Properties(read.message_id, read.correlation_id, read.reply_to, read.user_id, read.headers)
