"""Decodes whatever a broker delivers: what a publisher put into properties never ends a connection.

RabbitMQ passes on properties and routing keys as bytes: text that is not UTF-8, times beyond the calendar, tables
nested by the thousand. pamqp raises on them, aiormq then closes the connection, and the message goes to the next
worker. Here such a frame is read again, leniently: text with escapes for what is no UTF-8, nothing for what has no
meaning, nested values passed over; a header cut short gives what stands before the cut. The time taken grows with the
frame's length alone, which pamqp's does not: it copies what is left of a table at each of its fields.

Source: AMQP 0-9-1 specification, sections 2.3.5 and 4.2.6.1; types of fields as RabbitMQ has them
(https://www.rabbitmq.com/amqp-0-9-1-errata).
"""

import struct
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final, TypeAlias

import pamqp.frame
from aiormq import spec
from pamqp.base import Frame
from pamqp.common import FieldValue
from pamqp.frame import FrameTypes
from pamqp.header import ContentHeader

_LENIENT_FROM: Final = 4096
"""Bytes of a content header from which it is read here at once: pamqp needs up to a second for the largest."""

_MOST_FIELDS: Final = 200
"""Fields of a table that are read: ours and the broker's are fewer than twenty."""

_OVERFULL: Final[dict[str, FieldValue]] = {"x-delivery-count": 2}
"""What is read of a table of more fields: that it may have been delivered so often as to be looked at on its own."""

_DEATH: Final = b"\x07x-death"
"""The name of the header that the broker dead-letters with. Of several of one name the broker writes the first, and
pamqp would take the last: a publisher's. So a header that names it is read here."""

_METHOD: Final = b"\x01"
_HEADER: Final = b"\x02"
_FRAME_HEADER: Final = 7
_MODES: Final = {None, 1, 2}

Decoded: TypeAlias = tuple[int, int, FrameTypes]
"""Bytes consumed, channel, frame: as pamqp returns it."""

_Value: TypeAlias = Callable[["_Reader"], FieldValue]


def decode_leniently() -> None:
    """Have every connection of this process decode so. Idempotent.

    aiormq looks the decoder up in pamqp's module at each frame, and takes none of ours: there is no gentler way.
    """
    if pamqp.frame.unmarshal is _strict:
        pamqp.frame.unmarshal = unmarshal


def unmarshal(data_in: bytes) -> Decoded:
    """Decode one frame. Raises what pamqp raises for one whose meaning no publisher has a hand in."""
    if data_in[:1] == _HEADER and (len(data_in) > _LENIENT_FROM or _DEATH in data_in):
        return _content_header(data_in)
    try:
        decoded = _strict(data_in)
    except Exception:  # it raises nine kinds, RecursionError among them
        lenient = _lenient(data_in)
        if lenient is None:
            raise
        return lenient
    frame = decoded[2]
    if isinstance(frame, ContentHeader):
        _settle(frame.properties)
    return decoded


def _lenient(data: bytes) -> Decoded | None:
    if data[:1] == _HEADER and len(data) >= _FRAME_HEADER + 14:
        return _content_header(data)
    return _method(data) if data[:1] == _METHOD else None


def _content_header(data: bytes) -> Decoded:
    channel, size = struct.unpack_from(">HI", data, 1)
    end = min(_FRAME_HEADER + size, len(data))
    reader = _Reader(data, _FRAME_HEADER, end)
    header = ContentHeader()
    _, header.weight, header.body_size = reader.take(">HHQ")
    with suppress(struct.error, _Unknown):  # cut short: what was read stands
        _read_properties(reader, header.properties)
    _settle(header.properties)
    return end + 1, channel, header


def _read_properties(reader: "_Reader", properties: spec.Basic.Properties) -> None:
    (flags,) = reader.take(">H")
    more = flags
    while more & 1:
        (more,) = reader.take(">H")
    for name, flag in properties.flags.items():
        if flags & flag:
            setattr(properties, name, _PROPERTIES[name](reader))


def _settle(properties: spec.Basic.Properties) -> None:
    """Take out what aio-pika has no value for: RabbitMQ passes any octet on as the delivery mode."""
    if properties.delivery_mode not in _MODES:
        properties.delivery_mode = 1


def _method(data: bytes) -> Decoded | None:
    """Decode a method that carries a routing key; None for any other."""
    channel, size = struct.unpack_from(">HI", data, 1)
    end = min(_FRAME_HEADER + size, len(data))
    reader = _Reader(data, _FRAME_HEADER, end)
    (index,) = reader.take(">I")
    read = _ROUTED.get(index)
    return (end + 1, channel, read(reader)) if read else None


def _deliver(reader: "_Reader") -> Frame:
    tag = reader.short_text()
    number, redelivered = reader.take(">QB")
    frame = spec.Basic.Deliver(consumer_tag=tag, delivery_tag=number, redelivered=bool(redelivered & 1))
    frame.exchange, frame.routing_key = reader.short_text(), reader.short_text()
    return frame


def _get_ok(reader: "_Reader") -> Frame:
    number, redelivered = reader.take(">QB")
    frame = spec.Basic.GetOk(delivery_tag=number, redelivered=bool(redelivered & 1))
    frame.exchange, frame.routing_key = reader.short_text(), reader.short_text()
    (frame.message_count,) = reader.take(">I")
    return frame


def _returned(reader: "_Reader") -> Frame:
    (code,) = reader.take(">H")
    frame = spec.Basic.Return(reply_code=code)
    frame.reply_text, frame.exchange, frame.routing_key = (reader.short_text() for _ in range(3))
    return frame


class _Unknown(Exception):
    """A field of a type that AMQP does not have: where the next one begins can't be told."""


class _Reader:
    """Reads values one after the other. Raises struct.error past the end."""

    def __init__(self, data: bytes, start: int, end: int) -> None:
        self._data = data
        self._at = start
        self._end = end
        self._nested = False

    def take(self, form: str) -> tuple[int, ...]:
        """Read numbers of fixed length."""
        return struct.unpack_from(form, self._data, self._skip(struct.calcsize(form)))

    def short_text(self) -> str:
        """Read up to 255 bytes of text."""
        (length,) = self.take(">B")
        return self._text(length)

    def long_text(self) -> str:
        """Read text with a length of four bytes."""
        (length,) = self.take(">I")
        return self._text(length)

    def moment(self) -> datetime | None:
        """Read a time: seconds since 1970, or milliseconds where that is beyond the year 2106, as pamqp has it."""
        (since,) = self.take(">Q")
        try:
            return datetime.fromtimestamp(since / 1000 if since > 0xFFFFFFFF else since, tz=UTC)
        except (ValueError, OverflowError, OSError):
            return None

    def table(self) -> dict[str, FieldValue]:
        """Read a table's plain fields, of several of one name the first.

        Those that are tables, arrays or bytes themselves are passed over, but the first table in `x-death`. Of a table
        of too many fields none counts: reading them all takes longer than whatever the message is about, and to read
        some of them is to let whoever filled it up choose which.
        """
        (length,) = self.take(">I")
        end = min(self._at + length, self._end)
        fields: dict[str, FieldValue] = {}
        for _ in range(_MOST_FIELDS):
            if self._at >= end:
                return fields
            name = self.short_text()
            value = self._deaths() if name == "x-death" else self._field()
            if value is not None:
                fields.setdefault(name, value)
        if self._at < end:
            self._at = end
            return dict(_OVERFULL)
        return fields

    def _field(self) -> FieldValue:
        kind = bytes(self._data[self._skip(1) : self._at])
        if kind in _NESTED:
            (length,) = self.take(">I")
            self._skip(length)
            return None
        if kind in _NUMBERS:
            return self.take(_NUMBERS[kind])[0]
        if kind in _FIELDS:
            return _FIELDS[kind](self)
        raise _Unknown(kind)

    def _deaths(self) -> FieldValue:
        """Read where a message was dead-lettered last: the first table of an array; an empty array for anything else.

        The tables in a table are not read in their turn: `nested` ends there.
        """
        start = self._at
        if self._data[start : start + 1] != b"A" or self._nested:
            self._field()
            return []
        _, length = self.take(">BI")
        end = min(self._at + length, self._end)
        is_table = self._at < end and self._data[self._at : self._at + 1] == b"F"
        if is_table:
            self._at += 1
            self._nested = True
            first = self.table()
            self._nested = False
        self._at = end
        return [first] if is_table else []

    def _text(self, length: int) -> str:
        start = self._skip(length)
        return self._data[start : self._at].decode("utf-8", "backslashreplace")

    def _skip(self, length: int) -> int:
        start = self._at
        if start + length > self._end:
            raise struct.error("past the end")
        self._at = start + length
        return start


def _nothing(_: _Reader) -> None:
    """Read a field without a value."""


def _decimal(reader: _Reader) -> None:
    """Pass over a decimal number: nothing of ours is one."""
    reader.take(">BI")


_NESTED: Final = {b"F", b"A", b"x"}
_NUMBERS: Final = {
    b"b": ">b", b"B": ">B", b"s": ">h", b"u": ">H", b"I": ">i", b"i": ">I", b"l": ">q", b"L": ">q", b"f": ">f",
    b"d": ">d",
}  # fmt: skip
_FIELDS: Final[dict[bytes, _Value]] = {
    b"t": lambda reader: bool(reader.take(">B")[0]),
    b"D": _decimal,
    b"S": _Reader.long_text,
    b"T": _Reader.moment,
    b"V": _nothing,
    b"\x00": _nothing,
}
_PROPERTIES: Final[dict[str, _Value]] = {
    "headers": _Reader.table,
    "delivery_mode": lambda reader: reader.take(">B")[0],
    "priority": lambda reader: reader.take(">B")[0],
    "timestamp": _Reader.moment,
} | {
    name: _Reader.short_text
    for name in spec.Basic.Properties.flags
    if name not in {"headers", "delivery_mode", "priority", "timestamp"}
}
_ROUTED: Final[dict[int, Callable[[_Reader], Frame]]] = {
    spec.Basic.Deliver.index: _deliver,
    spec.Basic.GetOk.index: _get_ok,
    spec.Basic.Return.index: _returned,
}

_strict: Final = pamqp.frame.unmarshal
