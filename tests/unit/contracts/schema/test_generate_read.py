"""What the schema of inputs tells publishers is true: what it allows is read, what it forbids is refused."""

import json
import re
from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any

import pytest
from jsonschema import (  # type: ignore[import-untyped]  # it ships no types
    Draft202012Validator,
    FormatChecker,
    ValidationError,
)

from agentbus.contracts.envelope import InputEnvelope
from agentbus.contracts.errors import InvalidInput, SchemaViolation, Undecodable, UnsupportedType
from tests.harness.schemas import schema_of

_FORMATS = FormatChecker(formats=())
_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})", re.ASCII | re.IGNORECASE
)


def _is_rfc3339(value: object) -> bool:
    """Do what jsonschema does only with a further package: RFC 3339, a date that exists."""
    return not isinstance(value, str) or bool(_MOMENT.fullmatch(value) and datetime.fromisoformat(value.upper()))


_FORMATS.checks("date-time", raises=ValueError)(_is_rfc3339)


@cache
def _validator(name: str) -> Any:
    return Draft202012Validator(schema_of(name), format_checker=_FORMATS)


# What others write and we read

_PUBLISHED_BY_HAND = """
{
  "specversion": "1.0", "type": "agentbus.input.v1", "id": "tg-42", "source": "/my/adapter",
  "time": "2026-03-01T10:00:00+01:00",
  "data": {
    "kind": "message",
    "address": {"platform": "telegram", "account": "bot", "chat": "-100", "user": "7"},
    "message_id": "42",
    "sent_at": "2026-03-01T09:00:00.5Z",
    "content": {"kind": "text", "text": "Hello", "attachments": [{"kind": "image", "uri": "https://example.org/a.png"}]}
  }
}
"""


def _input(change: Callable[[dict[str, Any]], object] = lambda _: None) -> dict[str, Any]:
    envelope: dict[str, Any] = json.loads(_PUBLISHED_BY_HAND)
    change(envelope)
    return envelope


def _command(**data: Any) -> dict[str, Any]:
    return _input(lambda envelope: envelope.update(data=data))


def _at(moment: Any) -> dict[str, Any]:
    return _input(lambda envelope: envelope["data"].update(sent_at=moment))


def _content(**content: Any) -> dict[str, Any]:
    return _input(lambda envelope: envelope["data"].update(content=content))


_GOOD = {
    "a message": _input(),
    "an extension attribute": _input(lambda e: e.update(comexampleextension="1")),
    "a conversation given": _input(lambda e: e.update(partitionkey="a" * 26)),
    "a null instead of nothing": _input(lambda e: e["data"]["address"].update(thread=None)),
    "a trace": _input(lambda e: e.update(traceparent=f"00-{'a' * 32}-{'b' * 16}-01")),
    "lower case t and z": _at("2026-03-01t09:00:00z"),
    "nanoseconds": _at("2026-03-01T09:00:00.123456789-05:30"),
    "an edit": _content(kind="edit", target="41", text="Hullo"),
    "a deletion": _content(kind="delete", target="41"),
    "a reaction": _content(kind="reaction", target="41", reaction="👍"),
    "a chat command": _content(kind="command", name="start", arguments="now"),
    "create": _command(kind="create_session", data={"a": [1, None, {"b": 0.5}]}),
    "append": _command(kind="append_message", message={"content": {"kind": "text", "text": "Hi"}}),
    "set data": _command(kind="set_data", values={"a": None}, remove=["b"]),
    "close": _command(kind="close_session", session_id="a" * 26 + ".1"),
    "change state": _command(kind="change_state", status="suspended", reason="spam"),
}

_BAD = {
    "another version of CloudEvents": _input(lambda e: e.update(specversion="0.3")),
    "another type": _input(lambda e: e.update(type="agentbus.input.v9")),
    "no id": _input(lambda e: e.pop("id")),
    "an empty id": _input(lambda e: e.update(id="")),
    "a long id": _input(lambda e: e.update(id="x" * 256)),
    "a control character in an id": _input(lambda e: e.update(id="a\nb")),
    "an id that is a number": _input(lambda e: e.update(id=7)),
    "an empty source": _input(lambda e: e.update(source="")),
    "another content type": _input(lambda e: e.update(datacontenttype="text/plain")),
    "a malformed trace": _input(lambda e: e.update(traceparent="00-1-2-01")),
    "a malformed conversation": _input(lambda e: e.update(partitionkey="A" * 26)),
    "no data": _input(lambda e: e.pop("data")),
    "no kind": _input(lambda e: e["data"].pop("kind")),
    "an unknown kind": _input(lambda e: e["data"].update(kind="shout")),
    "an unknown property": _input(lambda e: e["data"].update(mood="good")),
    "an unknown property of the address": _input(lambda e: e["data"]["address"].update(city="Rome")),
    "a platform of two words": _input(lambda e: e["data"]["address"].update(platform="carrier pigeon")),
    "a platform in capitals": _input(lambda e: e["data"]["address"].update(platform="Teams")),
    "no platform": _input(lambda e: e["data"]["address"].update(platform="none")),
    "a platform of two levels": _input(lambda e: e["data"]["address"].update(platform="ms.teams")),
    "no chat": _input(lambda e: e["data"]["address"].pop("chat")),
    "no zone": _at("2026-03-01T09:00:00"),
    "no time of day": _at("2026-03-01"),
    "no such day": _at("2026-02-30T09:00:00Z"),
    "no such hour": _at("2026-02-28T24:00:00Z"),
    "a leap second": _at("2026-06-30T23:59:60Z"),
    "no time at all": _at(None),
    "content without a kind": _content(text="Hello"),
    "text that is a number": _content(kind="text", text=7),
    "too long a text": _content(kind="text", text="x" * 262_145),
    "too many attachments": _content(kind="text", attachments=[{"uri": "x:y"}] * 65),
    "an attachment of negative size": _content(kind="text", attachments=[{"uri": "x:y", "size": -1}]),
    "an edit of nothing": _content(kind="edit", text="Hullo"),
    "an edit as a bot's message": _command(kind="append_message", message={"content": {"kind": "edit", "target": "1"}}),
    "data that is a list": _command(kind="set_data", values=[1]),
    "a malformed session": _command(kind="close_session", session_id="a" * 26 + ".0"),
    "an unknown status": _command(kind="change_state", status="happy"),
}

_STRICTER = {
    "no source": _input(lambda e: e.pop("source")),
    "no version of CloudEvents": _input(lambda e: e.pop("specversion")),
    "no type": _input(lambda e: e.pop("type")),
    "a time without seconds": _at("2026-03-01T09:00Z"),
    "a time without T": _at("2026-03-01 09:00:00Z"),
    "a zone without colon": _at("2026-03-01T09:00:00+0100"),
}
"""What the reader lets pass, and publishers should not rely on."""


@pytest.mark.parametrize("envelope", _GOOD.values(), ids=_GOOD.keys())
def test_what_the_schema_allows_is_accepted(envelope: dict[str, Any]) -> None:
    _validator("input.json").validate(envelope)
    InputEnvelope.from_bytes(json.dumps(envelope).encode())


@pytest.mark.parametrize("envelope", _BAD.values(), ids=_BAD.keys())
def test_what_the_schema_forbids_is_refused(envelope: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        _validator("input.json").validate(envelope)
    with pytest.raises(InvalidInput):
        InputEnvelope.from_bytes(json.dumps(envelope).encode())


@pytest.mark.parametrize("envelope", _STRICTER.values(), ids=_STRICTER.keys())
def test_the_schema_asks_for_more_than_the_reader(envelope: dict[str, Any]) -> None:
    assert not _validator("input.json").is_valid(envelope)


def test_a_zone_is_asked_for_even_where_formats_are_not_checked() -> None:
    assert not Draft202012Validator(schema_of("input.json")).is_valid(_at("2026-03-01T09:00:00"))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"\xff\xfe", Undecodable),
        (b"{", Undecodable),
        (b"[]", Undecodable),
        (b"{}", Undecodable),
        (b"[" * 100_000, Undecodable),
        (json.dumps(_BAD["another version of CloudEvents"]).encode(), Undecodable),
        (json.dumps(_BAD["another type"]).encode(), UnsupportedType),
        (json.dumps(_BAD["no zone"]).encode(), SchemaViolation),
    ],
)
def test_bad_input_is_told_apart(body: bytes, expected: type[InvalidInput]) -> None:
    with pytest.raises(expected) as caught:
        InputEnvelope.from_bytes(body)
    assert type(caught.value) is expected


def test_the_wire_form_of_an_input_leaves_out_what_is_none_and_is_valid() -> None:
    wire = InputEnvelope.from_bytes(_PUBLISHED_BY_HAND.encode()).to_bytes()
    assert b"thread" not in wire
    _validator("input.json").validate(json.loads(wire))
