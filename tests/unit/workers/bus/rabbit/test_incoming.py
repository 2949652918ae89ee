"""Properties as they are read off the wire: the same as when all of the header is decoded."""

import struct

import pytest
from aiormq import spec
from hypothesis import given
from hypothesis import strategies as st
from pamqp.frame import marshal
from pamqp.header import ContentHeader

from agentbus.workers.bus.rabbit.decoding import unmarshal
from agentbus.workers.bus.rabbit.incoming import Properties, properties_of

FLAGS = spec.Basic.Properties.flags
NAMES = ("content_type", "delivery_mode", "correlation_id", "reply_to", "message_id", "user_id")


def whole(payload: bytes) -> Properties:
    header = unmarshal(struct.pack(">BHI", 2, 1, len(payload)) + payload + b"\xce")[2]
    assert isinstance(header, ContentHeader)
    read = header.properties
    return Properties(read.message_id, read.correlation_id, read.reply_to, read.user_id, read.headers)


def read(payload: bytes) -> Properties:
    before, after = b"before", b"\xceand after" * 40
    (flags,) = struct.unpack_from(">H", payload, 12)
    return properties_of(before + payload + after, len(before), len(before) + len(payload), flags)


def header(values: bytes, flags: int) -> bytes:
    return struct.pack(">HHQH", 60, 0, 5, flags) + values


@given(st.sets(st.sampled_from(sorted(FLAGS.values()))), st.binary(max_size=80))
def test_any_bytes_are_read_as_the_whole_header_is(flags: set[int], values: bytes) -> None:
    payload = header(values, sum(flags))
    assert read(payload) == whole(payload)


@given(st.lists(st.binary(max_size=20), min_size=5, max_size=5))
def test_text_of_any_bytes(texts: list[bytes]) -> None:
    kind, correlation, address, message, user = (bytes([len(one)]) + one for one in texts)
    payload = header(kind + b"\x02" + correlation + address + message + user, sum(FLAGS[name] for name in NAMES))
    assert read(payload) == whole(payload)


def test_headers_of_a_publisher_are_read_too() -> None:
    given_ones = spec.Basic.Properties(message_id="m", user_id="ann", headers={"x-delivery-count": 2, "a": "b"})
    frame = marshal(ContentHeader(body_size=3, properties=given_ones), 1)
    assert read(frame[7:-1]) == Properties("m", None, None, "ann", {"x-delivery-count": 2, "a": "b"})


@pytest.mark.parametrize("cut", range(14, 30))
def test_a_header_cut_short_gives_what_stands_before_the_cut(cut: int) -> None:
    payload = header(
        b"\x02" + b"\x05reply" + b"\x07message", sum(FLAGS[name] for name in NAMES[1:5:2]) | FLAGS["message_id"]
    )
    assert read(payload[:cut]) == whole(payload[:cut])
