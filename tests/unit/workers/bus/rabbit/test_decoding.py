"""What a publisher may put into a message's properties, and what becomes of it on its way to us."""

import struct
from datetime import UTC, datetime
from time import process_time

import pytest
from aiormq import spec
from hypothesis import given
from hypothesis import strategies as st
from pamqp.body import ContentBody
from pamqp.exceptions import UnmarshalingException
from pamqp.frame import marshal
from pamqp.header import ContentHeader

from agentbus.workers.bus.rabbit.consumers import attempts_of, plain_headers
from agentbus.workers.bus.rabbit.decoding import unmarshal

NUMBER = 7
FLAGS = spec.Basic.Properties.flags


def frame(kind: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", kind, NUMBER, len(payload)) + payload + b"\xce"


def header(properties: bytes, *names: str, body_size: int = 5) -> bytes:
    flags = sum(FLAGS[name] for name in names)
    return frame(2, struct.pack(">HHQH", 60, 0, body_size, flags) + properties)


def table(fields: bytes) -> bytes:
    return struct.pack(">I", len(fields)) + fields


def text(value: bytes) -> bytes:
    return bytes([len(value)]) + value


def properties(data: bytes) -> spec.Basic.Properties:
    used, channel, decoded = unmarshal(data)
    assert (used, channel) == (len(data), NUMBER)
    assert isinstance(decoded, ContentHeader)
    assert decoded.body_size == 5, "with a wrong size the bodies of all later messages would be cut wrongly"
    return decoded.properties


@pytest.mark.parametrize(
    "name", ["content_type", "content_encoding", "correlation_id", "reply_to", "message_id", "message_type", "app_id"]
)
def test_text_that_is_not_utf8_is_shown_with_escapes(name: str) -> None:
    assert getattr(properties(header(text(b"a\xff"), name)), name) == "a\\xff"


def test_what_stands_after_such_text_is_read_too() -> None:
    read = properties(header(text(b"\xff") + text(b"m-1"), "correlation_id", "message_id"))
    assert (read.correlation_id, read.message_id) == ("\\xff", "m-1")


@pytest.mark.parametrize("since", [2**62, 2**64 - 1, 2**48])
def test_a_time_beyond_the_calendar_is_none(since: int) -> None:
    assert properties(header(struct.pack(">Q", since), "timestamp")).timestamp is None


def test_a_time_is_seconds_or_where_that_is_too_late_milliseconds() -> None:
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    odd = text(b"\xff")
    for since in (int(moment.timestamp()), int(moment.timestamp()) * 1000):
        read = properties(header(odd + struct.pack(">Q", since), "message_id", "timestamp"))
        assert read.timestamp == moment


def test_tables_nested_by_the_thousand_are_passed_over() -> None:
    nested = b""
    for _ in range(3000):
        nested = text(b"a") + b"F" + table(nested)
    read = properties(
        header(table(nested + text(b"b") + b"I" + struct.pack(">i", -4)) + text(b"m"), "headers", "message_id")
    )
    assert read.headers == {"b": -4}
    assert read.message_id == "m"


def test_fields_of_every_kind() -> None:
    fields = {
        b"t": b"\x01",
        b"b": b"\xff",
        b"B": b"\xff",
        b"s": b"\xff\xfe",
        b"u": b"\xff\xfe",
        b"I": b"\xff" * 4,
        b"i": b"\xff" * 4,
        b"l": b"\xff" * 8,
        b"L": b"\x00" * 8,
        b"f": struct.pack(">f", 0.5),
        b"d": struct.pack(">d", 0.25),
        b"D": b"\x02\x00\x00\x00\x07",
        b"S": struct.pack(">I", 2) + b"h\xff",
        b"T": struct.pack(">Q", 0),
        b"V": b"",
        b"A": table(b"V"),
        b"x": table(b"xyz"),
    }
    whole = b"".join(text(kind) + kind + value for kind, value in fields.items())
    read = properties(header(text(b"\xff") + table(whole), "content_type", "headers")).headers
    numbers = {"b": -1, "B": 255, "s": -2, "u": 65534, "I": -1, "i": 2**32 - 1, "l": -1, "L": 0, "f": 0.5, "d": 0.25}
    assert read == numbers | {"t": True, "S": "h\\xff", "T": datetime(1970, 1, 1, tzinfo=UTC)}


def test_a_field_of_no_known_kind_ends_what_is_read() -> None:
    read = properties(
        header(text(b"t/p") + table(text(b"a") + b"Z") + text(b"m"), "content_type", "headers", "message_id")
    )
    assert (read.content_type, read.headers, read.message_id) == ("t/p", None, None)


def test_a_mode_that_amqp_does_not_have_is_read_as_transient() -> None:
    assert properties(header(b"\x4d", "delivery_mode")).delivery_mode == 1


def test_the_largest_header_takes_no_time() -> None:
    many = header(table(b"\x00V" * 65_000), "headers")
    begun = process_time()
    for _ in range(20):
        properties(many)
    assert process_time() - begun < 0.5, "pamqp needs 0.7 s for each: it copies what is left of a table at each field"


def test_of_a_table_of_too_many_fields_none_counts_and_what_stands_behind_it_is_read() -> None:
    """Else whoever fills one up would choose which of the broker's fields and of ours are seen."""
    field = text(b"x-agentbus-code") + b"S" + table(b"forged")
    whole = table(field + (text(b"f") + b"V") * 2000)
    read = properties(header(whole + text(b"m"), "headers", "message_id"))
    assert read.headers == {"x-delivery-count": 2}, "what comes again with it is looked at on its own"
    assert read.message_id == "m"


@pytest.mark.parametrize("size", [10, 20_000])
def test_a_large_header_of_ours_reads_as_a_small_one(size: int) -> None:
    ours = spec.Basic.Properties(
        content_type="a/b",
        headers={"x-agentbus-stack": "x" * size, "x-agentbus-attempts": 3},
        delivery_mode=2,
        message_id="m",
    )
    read = properties(marshal(ContentHeader(properties=ours, body_size=5), NUMBER))
    assert dict(read) == dict(ours)


def test_a_routing_key_that_is_not_utf8() -> None:
    deliver = struct.pack(">I", 0x003C003C) + text(b"ctag") + struct.pack(">QB", 9, 1) + text(b"ex") + text(b"\xff.x")
    _, _, read = unmarshal(frame(1, deliver))
    assert isinstance(read, spec.Basic.Deliver)
    assert (read.consumer_tag, read.delivery_tag, read.redelivered) == ("ctag", 9, True)
    assert (read.exchange, read.routing_key) == ("ex", "\\xff.x")
    got = struct.pack(">I", 0x003C0047) + struct.pack(">QB", 9, 0) + text(b"ex") + text(b"\xff") + struct.pack(">I", 4)
    _, _, read = unmarshal(frame(1, got))
    assert isinstance(read, spec.Basic.GetOk)
    assert (read.delivery_tag, read.redelivered, read.routing_key, read.message_count) == (9, False, "\\xff", 4)
    returned = struct.pack(">IH", 0x003C0032, 312) + text(b"NO_ROUTE") + text(b"ex") + text(b"\xff")
    _, _, read = unmarshal(frame(1, returned))
    assert isinstance(read, spec.Basic.Return)
    assert (read.reply_code, read.reply_text, read.routing_key) == (312, "NO_ROUTE", "\\xff")


def test_what_no_publisher_has_a_hand_in_still_fails() -> None:
    with pytest.raises(UnmarshalingException):
        unmarshal(frame(1, struct.pack(">I", 0x003C00FF)))
    with pytest.raises(UnmarshalingException):
        unmarshal(marshal(ContentBody(b"x"), 1)[:-1] + b"\x00")


@given(st.binary(max_size=300), st.integers(0, 2**16 - 1))
def test_no_bytes_of_properties_end_a_connection(data: bytes, flags: int) -> None:
    used, _, read = unmarshal(frame(2, struct.pack(">HHQH", 60, 0, 5, flags) + data))
    assert used == 20 + 2 + len(data)
    assert isinstance(read, ContentHeader)
    assert read.body_size == 5


@given(st.binary(max_size=600).map(lambda fields: fields * 9))
def test_no_bytes_of_a_large_table_end_a_connection(fields: bytes) -> None:
    assert properties(header(table(fields), "headers")) is not None


@pytest.mark.parametrize(
    ("headers", "redelivered", "attempts"),
    [
        ({}, False, 1),
        ({}, True, 2),
        ({"x-delivery-count": 4}, True, 5),
        ({"x-delivery-count": 4}, False, 1),  # a publisher's: it was not delivered before
        ({"x-delivery-count": "many"}, True, 2),
        ({"x-delivery-count": -3}, True, 2),
        ({"x-delivery-count": 2.5}, True, 2),
        ({"x-delivery-count": 2**63 - 1}, True, 2**31 + 1),
    ],
)
def test_the_brokers_count_of_deliveries(headers: dict[str, object], redelivered: bool, attempts: int) -> None:
    assert attempts_of(headers, redelivered=redelivered) == attempts


def test_headers_that_are_neither_text_nor_whole_numbers_are_left_out() -> None:
    assert plain_headers({"a": "x", "b": 1, "c": None, "d": {}, "e": 1.5, "f": b"\xff"}) == {"a": "x", "b": 1}
