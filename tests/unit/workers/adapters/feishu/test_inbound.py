import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agentbus.contracts.messages import (
    Attachment,
    AttachmentKind,
    ButtonContent,
    Content,
    DeleteContent,
    InboundMessage,
    Membership,
    MembershipContent,
    TextContent,
    UnsupportedContent,
)
from agentbus.workers.adapters.feishu.account import FeishuAccount
from agentbus.workers.adapters.feishu.inbound import FeishuInbound
from agentbus.workers.adapters.port import Malformed, Received, Request, Unverified
from tests.platforms.feishu import TOKEN, encrypted, event, message, posted, signed

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
KEY = "an-encrypt-key"
INTO = FeishuInbound("work", FeishuAccount(encrypt_key=KEY, verification_token=TOKEN))


def taken(request: Request) -> Received:
    INTO.verify(request)
    return INTO.parse(request)


def read(body: Any) -> list[InboundMessage]:
    received = taken(posted(KEY, body, NOON))
    assert (received.answer.body, received.answer.media_type) == (b"{}", "application/json")
    return list(received.messages)


def test_a_text_with_the_names_of_those_mentioned() -> None:
    mentions = [
        {"key": "@_user_1", "id": {"open_id": "ou_bot"}, "name": "Bot"},
        {"key": "@_user_10", "id": {"open_id": "ou_eve"}, "name": "Eve"},
    ]
    [one] = read(message("text", {"text": "@_user_1 ask @_user_10"}, mentions=mentions))

    assert one.address.model_dump(exclude_none=True) == {
        "platform": "feishu",
        "account": "work",
        "chat": "oc_1",
        "user": "ou_ann",
    }
    assert (one.message_id, one.content) == ("om_1", TextContent(text="@Bot ask @Eve"))
    assert one.sent_at == datetime.fromtimestamp(1_764_244_800, UTC)


def test_names_that_look_like_keys_are_not_replaced_again() -> None:
    mentions = [{"key": f"@_user_{number}", "name": "_user_1@_user_1" * 8} for number in range(1, 100)]
    [one] = read(message("text", {"text": "@_user_1 @_user_7 @_user_100 @_all"}, mentions=mentions))
    assert one.content == TextContent(text=f"@{'_user_1@_user_1' * 8} @{'_user_1@_user_1' * 8} @_user_100 @_all")


def test_a_message_is_known_by_its_id_under_whatever_event() -> None:
    first = message("text", {"text": "hello"})
    again = {**first, "header": {**first["header"], "event_id": "ev2"}}
    assert read(again)[0].input_id() == read(first)[0].input_id()


def test_threads_and_what_is_answered_to() -> None:
    [one] = read(message("text", {"text": "so"}, thread_id="omt_1", parent_id="om_0", root_id="om_0"))
    assert (one.address.thread, one.content) == ("omt_1", TextContent(text="so", reply_to="om_0"))


POST = {
    "title": "News",
    "content": [
        [
            {"tag": "text", "text": "see "},
            {"tag": "a", "href": "https://example.org/", "text": "this"},
            {"tag": "at", "user_id": "@_user_1", "user_name": "Bob"},
        ],
        [{"tag": "img", "image_key": "img_1"}],
    ],
}


@pytest.mark.parametrize(
    ("kind", "said", "content"),
    [
        (
            "image",
            {"image_key": "img_1"},
            TextContent(attachments=(Attachment(kind=AttachmentKind.IMAGE, uri="feishu:message/om_1/img_1"),)),
        ),
        (
            "file",
            {"file_key": "f_1", "file_name": "a.pdf"},
            TextContent(attachments=(Attachment(uri="feishu:message/om_1/f_1", name="a.pdf"),)),
        ),
        (
            "audio",
            {"file_key": "f_1", "duration": 2000},
            TextContent(attachments=(Attachment(kind=AttachmentKind.AUDIO, uri="feishu:message/om_1/f_1"),)),
        ),
        (
            "sticker",
            {"file_key": "f_1"},
            TextContent(attachments=(Attachment(kind=AttachmentKind.STICKER, uri="feishu:message/om_1/f_1"),)),
        ),
        (
            "location",
            {"name": "Café", "longitude": "13.4", "latitude": "52.5"},
            TextContent(text="Café", attachments=(Attachment(kind=AttachmentKind.LOCATION, uri="geo:52.5,13.4"),)),
        ),
        (
            "post",
            POST,
            TextContent(
                text="News\nsee this (https://example.org/)@Bob",
                attachments=(Attachment(kind=AttachmentKind.IMAGE, uri="feishu:message/om_1/img_1"),),
            ),
        ),
    ],
)
def test_every_kind_of_message(kind: str, said: Any, content: Content) -> None:
    [one] = read(message(kind, said))
    assert one.content == content


@pytest.mark.parametrize(
    ("body", "content", "chat", "user"),
    [
        (
            event("im.message.recalled_v1", message_id="om_0", chat_id="oc_1", recall_type="message_owner"),
            DeleteContent(target="om_0"),
            "oc_1",
            "unknown",
        ),
        (
            event(
                "im.chat.member.user.added_v1",
                chat_id="oc_1",
                operator_id={"open_id": "ou_ann"},
                users=[{"name": "Bob", "user_id": {"open_id": "ou_bob"}}],
            ),
            MembershipContent(change=Membership.JOINED, members=("ou_bob",)),
            "oc_1",
            "ou_ann",
        ),
        (
            event("im.chat.member.user.deleted_v1", chat_id="oc_1", users=[{"user_id": {"open_id": "ou_bob"}}]),
            MembershipContent(change=Membership.LEFT, members=("ou_bob",)),
            "oc_1",
            "unknown",
        ),
        (
            event(
                "card.action.trigger",
                operator={"open_id": "ou_ann"},
                action={"tag": "button", "value": {"a": 1}},
                context={"open_message_id": "om_0", "open_chat_id": "oc_1"},
            ),
            ButtonContent(data='{"a":1}', target="om_0"),
            "oc_1",
            "ou_ann",
        ),
    ],
)
def test_other_events_are_known_by_their_own_id(body: dict[str, Any], content: Content, chat: str, user: str) -> None:
    [one] = read(body)
    assert (one.message_id, one.content) == ("ev1", content)
    assert (one.address.chat, one.address.user) == (chat, user)


@pytest.mark.parametrize(
    ("body", "what", "chat"),
    [
        (message("hongbao", {"text": "x"}), "im.message.receive_v1", "oc_1"),
        (message("text", "not json"), "im.message.receive_v1", "oc_1"),
        (message("text", "[" * 100_000), "im.message.receive_v1", "oc_1"),
        (message("text", {"text": "x" * 300_000}), "im.message.receive_v1", "oc_1"),
        (event("im.message.reaction.created_v1", message_id="om_0"), "im.message.reaction.created_v1", "unknown"),
        ({"uuid": "u1", "token": TOKEN, "type": "event_callback", "event": {"type": "add_bot"}}, "add_bot", "unknown"),
        ({}, "unknown", "unknown"),
    ],
)
def test_what_is_not_understood_is_kept_where_it_happened_without_the_token(
    body: dict[str, Any], what: str, chat: str
) -> None:
    [one] = read(body)
    assert isinstance(one.content, UnsupportedContent)
    assert (one.content.what, one.address.chat) == (what, chat)
    assert TOKEN not in one.content.raw


CHALLENGE = {"challenge": "ajls384kdjx98XX", "token": TOKEN, "type": "url_verification"}


def test_the_challenge_is_answered_signed_or_not() -> None:
    body = encrypted(KEY, json.dumps(CHALLENGE).encode())
    for request in (Request(body=body, received_at=NOON), signed(KEY, body, NOON)):
        received = taken(request)
        assert json.loads(received.answer.body) == {"challenge": "ajls384kdjx98XX"}
        assert received.messages == ()


@pytest.mark.parametrize(
    "plain",
    [{**CHALLENGE, "token": "another"}, {**CHALLENGE, "token": None}, message("text", {"text": "hello"}), {}],
)
def test_nothing_else_is_taken_unsigned(plain: dict[str, Any]) -> None:
    for body in (encrypted(KEY, json.dumps(plain).encode()), json.dumps(plain).encode(), b""):
        with pytest.raises(Unverified, match=r"missing|not the right one"):
            INTO.verify(Request(body=body, received_at=NOON))


def test_what_is_not_signed_so_is_not_verified_and_how_old_it_is_does_not_matter() -> None:
    right = posted(KEY, message("text", {"text": "hello"}), NOON)
    INTO.verify(Request(body=right.body, headers=right.headers, received_at=NOON + timedelta(hours=7)))
    for name, value in right.headers.items():
        for wrong in ("", value + "0", "é"):
            with pytest.raises(Unverified):
                INTO.verify(Request(body=right.body, headers={**right.headers, name: wrong}, received_at=NOON))
        if name != "x-lark-signature":
            rest = {key: kept for key, kept in right.headers.items() if key != name}
            with pytest.raises(Unverified):
                INTO.verify(Request(body=right.body, headers=rest, received_at=NOON))
    with pytest.raises(Unverified):
        INTO.verify(Request(body=right.body + b" ", headers=right.headers, received_at=NOON))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"encrypt": 7}',
        b'{"encrypt": "%%%"}',
        b'{"encrypt": "AAAA"}',
        b'{"encrypt": "' + b"A" * 64 + b'"}',
        encrypted("another-key", b"{}"),
        encrypted(KEY, b"[]"),
        encrypted(KEY, b"\xff"),
    ],
)
def test_what_does_not_decrypt_to_an_object_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        taken(signed(KEY, body, NOON))
