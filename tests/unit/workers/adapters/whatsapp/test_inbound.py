from datetime import UTC, datetime
from typing import Any

import pytest

from agentbus.contracts.messages import (
    ALL_REACTIONS,
    Attachment,
    AttachmentKind,
    ButtonContent,
    Content,
    ReactionContent,
    TextContent,
    UnsupportedContent,
)
from agentbus.workers.adapters.port import Malformed, ReceiptState, Received, Request, Unverified
from agentbus.workers.adapters.whatsapp.account import WhatsAppAccount
from agentbus.workers.adapters.whatsapp.inbound import WhatsAppInbound
from tests.platforms.whatsapp import ANN, DATE, NUMBER, asked, message, posted, signed, webhook

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
SECRET = "0123456789abcdef0123456789abcdef"  # noqa: S105 - nobody's
TOKEN = "a-word-of-ours"  # noqa: S105 - nobody's
INTO = WhatsAppInbound("shop", WhatsAppAccount(app_secret=SECRET, verify_token=TOKEN, phone_number_id=NUMBER))


def taken(request: Request) -> Received:
    INTO.verify(request)
    return INTO.parse(request)


def read(*messages: Any, **parts: Any) -> Received:
    return taken(posted(SECRET, webhook(messages=list(messages), **parts), NOON))


def test_a_text() -> None:
    [one] = read(message("text", text={"body": "hello"})).messages

    assert one.address.model_dump(exclude_none=True) == {
        "platform": "whatsapp",
        "account": "shop",
        "chat": ANN,
        "user": ANN,
    }
    assert (one.message_id, one.sender_name, one.content) == ("wamid.1", "Ann Lee", TextContent(text="hello"))
    assert one.sent_at == datetime.fromtimestamp(int(DATE), UTC)


def test_a_message_is_known_by_its_id_whatever_it_comes_in() -> None:
    text = message("text", text={"body": "hello"})
    alone, among = read(text), read(message("text", "wamid.0", text={"body": "hi"}), text)
    assert among.messages[1].input_id() == alone.messages[0].input_id()


def test_another_number_of_the_app_has_chats_of_its_own() -> None:
    [one] = read(message("text", text={"body": "hello"}), number="999").messages
    assert (one.address.chat, one.address.user) == (f"999/{ANN}", ANN)


MEDIA = {"id": "m1", "mime_type": "image/jpeg", "sha256": "x"}


@pytest.mark.parametrize(
    ("kind", "part", "content"),
    [
        (
            "image",
            {**MEDIA, "caption": "look"},
            TextContent(
                text="look",
                attachments=(Attachment(kind=AttachmentKind.IMAGE, uri="whatsapp:media/m1", media_type="image/jpeg"),),
            ),
        ),
        (
            "audio",
            {"id": "a1", "mime_type": "audio/ogg; codecs=opus", "voice": True},
            TextContent(
                attachments=(
                    Attachment(kind=AttachmentKind.AUDIO, uri="whatsapp:media/a1", media_type="audio/ogg; codecs=opus"),
                )
            ),
        ),
        (
            "document",
            {"id": "d1", "mime_type": "application/pdf", "filename": "a.pdf"},
            TextContent(attachments=(Attachment(uri="whatsapp:media/d1", media_type="application/pdf", name="a.pdf"),)),
        ),
        (
            "sticker",
            {"id": "s1", "animated": False},
            TextContent(attachments=(Attachment(kind=AttachmentKind.STICKER, uri="whatsapp:media/s1"),)),
        ),
        (
            "location",
            {"latitude": 52.5, "longitude": 13.4, "name": "Café", "address": "Street 1"},
            TextContent(
                text="Café\nStreet 1",
                attachments=(Attachment(kind=AttachmentKind.LOCATION, uri="geo:52.5,13.4"),),
            ),
        ),
        (
            "contacts",
            [{"name": {"formatted_name": "Eve"}, "phones": [{"phone": "+49 30 1"}]}],
            TextContent(attachments=(Attachment(kind=AttachmentKind.CONTACT, uri="tel:+49301", name="Eve"),)),
        ),
        (
            "contacts",
            [{"name": {"formatted_name": "Eve"}, "emails": [{"email": "eve@example.org"}]}],
            TextContent(
                attachments=(Attachment(kind=AttachmentKind.CONTACT, uri="mailto:eve@example.org", name="Eve"),)
            ),
        ),
        ("button", {"payload": "y", "text": "Yes"}, ButtonContent(data="y", label="Yes")),
        (
            "interactive",
            {"type": "list_reply", "list_reply": {"id": "r", "title": "Red", "description": "d"}},
            ButtonContent(data="r", label="Red"),
        ),
    ],
)
def test_every_kind_of_message(kind: str, part: Any, content: Content) -> None:
    [one] = read(message(kind, **{kind: part})).messages
    assert one.content == content


def test_what_is_answered_to_is_kept() -> None:
    [one] = read(message("text", text={"body": "so"}, context={"from": "1", "id": "wamid.0"})).messages
    [pressed] = read(message("button", button={"payload": "y"}, context={"id": "wamid.0"})).messages
    assert one.content == TextContent(text="so", reply_to="wamid.0")
    assert pressed.content == ButtonContent(data="y", target="wamid.0")


def test_a_reaction_takes_the_place_of_the_one_before_and_none_takes_it_back() -> None:
    one, two = read(message("reaction", reaction={"message_id": "wamid.0", "emoji": "👍"})).messages
    [gone] = read(message("reaction", reaction={"message_id": "wamid.0"})).messages

    assert one.content == ReactionContent(target="wamid.0", reaction=ALL_REACTIONS, removed=True)
    assert two.content == ReactionContent(target="wamid.0", reaction="👍")
    assert (one.message_id, two.message_id) == ("wamid.1:before", "wamid.1")
    assert gone.content == one.content


def status(**parts: Any) -> dict[str, Any]:
    return {"id": "wamid.ours", "status": "delivered", "timestamp": DATE, "recipient_id": ANN, **parts}


def test_what_became_of_ours_is_a_receipt() -> None:
    failed = status(
        status="failed",
        biz_opaque_callback_data="our-key",
        errors=[{"code": 131047, "title": "Re-engagement message", "message": "m"}],
    )
    received = taken(posted(SECRET, webhook(statuses=[status(), failed, status(status="warning")]), NOON))

    assert received.messages == ()
    one, two = received.receipts
    assert (one.state, one.message_id, one.address.chat, one.key) == (ReceiptState.DELIVERED, "wamid.ours", ANN, None)
    assert (two.state, two.reason, two.key) == (ReceiptState.FAILED, "131047 Re-engagement message", "our-key")


@pytest.mark.parametrize(
    ("raw", "what", "known"),
    [
        (message("order", order={"catalog_id": "c"}), "order", "wamid.1"),
        (message("unsupported", errors=[{"code": 131051}]), "unsupported", "wamid.1"),
        (message("text", text={"body": 7}), "text", "wamid.1"),
        (message("text", text={"body": "x" * 300_000}), "text", "wamid.1"),
        (message("location", location={"latitude": 1e999, "longitude": 1}), "location", "wamid.1"),
        ({"type": "text"}, "text", "raw:"),
        ("a text", "message", "raw:"),
    ],
)
def test_what_is_not_understood_is_kept(raw: Any, what: str, known: str) -> None:
    [one] = read(raw).messages
    assert isinstance(one.content, UnsupportedContent)
    assert one.content.what == what
    assert one.message_id.startswith(known)


def test_other_webhooks_are_kept_whole_and_what_is_empty_is_passed_over() -> None:
    update = webhook(field="account_update", event="PARTNER_ADDED")
    [one] = taken(posted(SECRET, update, NOON)).messages
    assert isinstance(one.content, UnsupportedContent)
    assert (one.content.what, one.address.chat) == ("account_update", "unknown")
    [wrong] = taken(posted(SECRET, webhook(statuses=[{"id": 1}]), NOON)).messages
    assert isinstance(wrong.content, UnsupportedContent)
    for empty in ({}, {"entry": None}, {"entry": [1, {"changes": 2}]}):
        assert taken(posted(SECRET, empty, NOON)) == Received(ignored=1)


def test_the_challenge_is_answered_to_whoever_knows_the_word() -> None:
    assert taken(asked(TOKEN, "1158201444", NOON)).answer.body == b"1158201444"
    for wrong in (asked("another", "1", NOON), asked("", "1", NOON), asked(TOKEN, "1", NOON, mode="")):
        with pytest.raises(Unverified):
            INTO.verify(wrong)
    with pytest.raises(Unverified):
        INTO.verify(Request(body=b"", method="GET", received_at=NOON))


def test_what_is_not_signed_so_is_not_verified_and_what_is_no_json_is_malformed() -> None:
    right = posted(SECRET, webhook(), NOON)
    INTO.verify(right)
    for headers in (
        {},
        {"x-hub-signature-256": ""},
        {"x-hub-signature-256": "sha256="},
        {"x-hub-signature": right.headers["x-hub-signature-256"]},
        {"x-hub-signature-256": right.headers["x-hub-signature-256"][:-1] + "g"},
        {"x-hub-signature-256": "é"},
    ):
        with pytest.raises(Unverified):
            INTO.verify(Request(body=right.body, headers=headers, received_at=NOON))
    for body in (b"", b"[]", b"\xff"):
        with pytest.raises(Malformed):
            taken(signed(SECRET, body, NOON))
