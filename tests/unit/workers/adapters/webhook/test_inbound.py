import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agentbus.contracts.messages import TextContent, UnsupportedContent
from agentbus.workers.adapters.port import Malformed, Received, Request, Unverified
from agentbus.workers.adapters.webhook.account import WebhookAccount
from agentbus.workers.adapters.webhook.inbound import WebhookInbound
from tests.platforms.webhook import signed

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
SECRET = "whsec_" + base64.b64encode(b"k" * 24).decode()
MAPPED = {
    "messages": "events[?type=='said']",
    "chat": "room.id",
    "user": "by.id",
    "message_id": "id",
    "text": "body",
    "attachments": "files[].url",
}


def inbound(**mapping: str) -> WebhookInbound:
    return WebhookInbound("shop", WebhookAccount.model_validate({"secret": SECRET, "mapping": mapping}))


def posted(body: Any, *, told: str = "msg_1", at: datetime = NOON) -> Request:
    return signed(SECRET, body if isinstance(body, bytes) else json.dumps(body).encode(), told=told, at=at)


def parsed(body: Any, **mapping: str) -> Received:
    request, into = posted(body), inbound(**mapping)
    into.verify(request)
    return into.parse(request)


def test_a_message_with_the_usual_names_needs_no_mapping() -> None:
    [one] = parsed(
        {
            "chat": 7,
            "user": "ann",
            "message_id": 12,
            "text": "hello",
            "sent_at": "2026-11-27T11:59:00+01:00",
            "sender_name": "Ann",
            "thread": "t1",
            "reply_to": "11",
            "attachments": "https://example.org/a.png",
            "more": True,
        }
    ).messages

    address = one.address
    assert (address.platform, address.account, address.chat) == ("webhook", "shop", "7")
    assert (address.thread, address.user) == ("t1", "ann")
    assert (one.message_id, one.sender_name, one.sent_at) == ("12", "Ann", datetime(2026, 11, 27, 10, 59, tzinfo=UTC))
    assert isinstance(one.content, TextContent)
    assert (one.content.text, one.content.reply_to) == ("hello", "11")
    assert [file.uri for file in one.content.attachments] == ["https://example.org/a.png"]


def test_a_mapping_says_where_the_messages_are_and_what_they_consist_of() -> None:
    event = {"type": "said", "id": "m1", "room": {"id": "r"}, "by": {"id": 5}, "body": "one", "files": [{"url": "x:1"}]}
    received = parsed({"events": [event, {"type": "seen"}, {**event, "id": "m2", "body": "two"}]}, **MAPPED)

    assert [
        (one.message_id, one.content.text) for one in received.messages if isinstance(one.content, TextContent)
    ] == [
        ("m1", "one"),
        ("m2", "two"),
    ]


def test_without_an_id_of_its_own_a_message_is_known_by_the_requests_id_and_its_place() -> None:
    body = [{"chat": "c", "user": "u", "text": "one"}, {"chat": "c", "user": "u", "text": "two"}]
    into, request, again = inbound(), posted(body), posted(body, at=NOON + timedelta(seconds=30))

    assert [one.message_id for one in into.parse(request).messages] == ["msg_1:0", "msg_1:1"]
    assert [one.input_id() for one in into.parse(again).messages] == [
        one.input_id() for one in into.parse(request).messages
    ]
    assert into.parse(request).messages[0].sent_at == NOON


@pytest.mark.parametrize(
    "item",
    [
        {"chat": "c", "text": "nobody said it"},
        {"user": "u", "text": "nowhere"},
        {"chat": "c", "user": "u", "text": {"deep": 1}},
        {"chat": "c", "user": "u", "sent_at": "yesterday"},
        {"chat": "c", "user": "u", "text": "x" * 300_000},
        "a text",
        12,
    ],
)
def test_what_is_not_understood_is_kept(item: Any) -> None:
    [one] = parsed([item]).messages

    assert isinstance(one.content, UnsupportedContent)
    assert one.content.raw == (item if isinstance(item, str) else json.dumps(item, separators=(",", ":")))
    assert one.message_id == "msg_1:0"


def test_nothing_but_json_is_malformed_and_json_without_messages_is_passed_over() -> None:
    for body in (b"", b"\xff", b"{", b"[" * 100_000, b'{"a": 1' + b"0" * 5000 + b"}"):
        with pytest.raises(Malformed):
            inbound().parse(posted(body))
    assert parsed({"events": []}, **MAPPED) == Received(ignored=1)
    assert parsed({"events": "none"}, **MAPPED) == Received(ignored=1)


def test_what_is_not_signed_so_is_not_verified() -> None:
    into, right = inbound(), posted({"chat": "c"})
    into.verify(right)
    two = {**right.headers, "webhook-signature": f"v1,AAAA v2,x {right.headers['webhook-signature']}"}
    into.verify(Request(body=right.body, headers=two, received_at=NOON))

    wrong = [
        Request(body=right.body + b" ", headers=right.headers, received_at=NOON),
        Request(body=right.body, headers=right.headers, received_at=NOON + timedelta(seconds=301)),
        Request(body=right.body, headers=right.headers, received_at=NOON - timedelta(seconds=301)),
        *(
            Request(body=right.body, headers={**right.headers, name: value}, received_at=NOON)
            for name in right.headers
            for value in ("", "v1,", "²", "1" * 400, "é")
        ),
        *(
            Request(
                body=right.body,
                headers={key: value for key, value in right.headers.items() if key != name},
                received_at=NOON,
            )
            for name in right.headers
        ),
    ]
    for request in wrong:
        with pytest.raises(Unverified):
            into.verify(request)


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"secret": "too short"}, "secret"),
        ({"secret": "whsec_ not base 64 at all"}, "secret"),
        ({"secret": SECRET, "mapping": {"chat": "a[["}}, "no JMESPath"),
        ({"secret": SECRET, "mapping": {"room": "a"}}, "room"),
    ],
)
def test_an_account_that_is_wrong_is_told_without_its_secret(fields: dict[str, Any], where: str) -> None:
    with pytest.raises(ValueError, match=where) as raised:
        WebhookAccount.model_validate(fields)
    assert fields["secret"] not in str(raised.value)
    assert SECRET not in repr(WebhookAccount(secret=SECRET))
