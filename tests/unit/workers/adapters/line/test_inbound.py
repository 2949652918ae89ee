from datetime import UTC, datetime
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
from agentbus.workers.adapters.line.account import LineAccount
from agentbus.workers.adapters.line.inbound import LineInbound
from agentbus.workers.adapters.port import Malformed, Received, Request, Unverified
from tests.platforms.line import BOT, DATE, event, posted, signed

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
SECRET = "0123456789abcdef0123456789abcdef"  # noqa: S105 - nobody's
INTO = LineInbound("shop", LineAccount(channel_secret=SECRET))
GROUP = {"type": "group", "groupId": "C1", "userId": "Uann"}


def taken(request: Request) -> Received:
    INTO.verify(request)
    return INTO.parse(request)


def read(*events: Any) -> list[InboundMessage]:
    return list(taken(posted(SECRET, list(events), NOON)).messages)


def message(kind: str, **parts: Any) -> dict[str, Any]:
    return event("message", message={"id": "444573844083572737", "type": kind, **parts})


def test_a_text_and_its_redelivery_are_one() -> None:
    text = message("text", text="hello")
    one, again = read(text, {**text, "deliveryContext": {"isRedelivery": True}})

    assert one.address.model_dump(exclude_none=True) == {
        "platform": "line",
        "account": "shop",
        "chat": "Uann",
        "user": "Uann",
    }
    assert (one.message_id, one.content) == ("444573844083572737", TextContent(text="hello"))
    assert one.sent_at == datetime.fromtimestamp(DATE / 1000, UTC)
    assert again.input_id() == one.input_id()


def test_a_group_and_a_room_are_chats_and_may_keep_to_themselves_who_it_was() -> None:
    in_group, in_room = read(
        {**message("text", text="hi"), "source": GROUP},
        {**message("text", text="hi"), "source": {"type": "room", "roomId": "R1"}},
    )
    assert (in_group.address.chat, in_group.address.user) == ("C1", "Uann")
    assert (in_room.address.chat, in_room.address.user) == ("R1", "unknown")


@pytest.mark.parametrize(
    ("kind", "parts", "content"),
    [
        (
            "image",
            {"contentProvider": {"type": "line"}, "imageSet": {"id": "S1", "index": 1, "total": 2}},
            TextContent(
                attachments=(Attachment(kind=AttachmentKind.IMAGE, uri="line:content/444573844083572737"),), album="S1"
            ),
        ),
        (
            "video",
            {"contentProvider": {"type": "external", "originalContentUrl": "https://example.org/v.mp4"}},
            TextContent(attachments=(Attachment(kind=AttachmentKind.VIDEO, uri="https://example.org/v.mp4"),)),
        ),
        (
            "file",
            {"fileName": "a.pdf", "fileSize": 9},
            TextContent(attachments=(Attachment(uri="line:content/444573844083572737", name="a.pdf", size=9),)),
        ),
        (
            "sticker",
            {"packageId": "446", "stickerId": "1988"},
            TextContent(attachments=(Attachment(kind=AttachmentKind.STICKER, uri="line:sticker/446/1988"),)),
        ),
        (
            "location",
            {"title": "Café", "address": "Street 1", "latitude": 52.5, "longitude": 13.4},
            TextContent(
                text="Café\nStreet 1", attachments=(Attachment(kind=AttachmentKind.LOCATION, uri="geo:52.5,13.4"),)
            ),
        ),
        ("text", {"text": "so", "quotedMessageId": "4"}, TextContent(text="so", reply_to="4")),
    ],
)
def test_every_kind_of_message(kind: str, parts: dict[str, Any], content: Content) -> None:
    [one] = read(message(kind, **parts))
    assert one.content == content


@pytest.mark.parametrize(
    ("raw", "content"),
    [
        (event("unsend", unsend={"messageId": "44"}), DeleteContent(target="44")),
        (event("postback", postback={"data": "a=1"}), ButtonContent(data="a=1")),
        (event("follow"), MembershipContent(change=Membership.JOINED)),
        (event("unfollow"), MembershipContent(change=Membership.LEFT)),
        (event("join", source=GROUP), MembershipContent(change=Membership.JOINED, members=(BOT,))),
        (event("leave", source=GROUP), MembershipContent(change=Membership.LEFT, members=(BOT,))),
        (
            event("memberJoined", joined={"members": [{"type": "user", "userId": "Ubob"}]}),
            MembershipContent(change=Membership.JOINED, members=("Ubob",)),
        ),
        (
            event("memberLeft", left={"members": [{"type": "user", "userId": "Ubob"}]}),
            MembershipContent(change=Membership.LEFT, members=("Ubob",)),
        ),
    ],
)
def test_other_events_are_known_by_their_own_id(raw: dict[str, Any], content: Content) -> None:
    [one] = read(raw)
    assert (one.message_id, one.content) == ("01HEVENT", content)


@pytest.mark.parametrize(
    ("raw", "what", "chat"),
    [
        (event("beacon", beacon={"hwid": "d"}, source=GROUP), "beacon", "C1"),
        (message("hologram"), "hologram", "Uann"),
        (message("text", text=7), "text", "Uann"),
        (message("text"), "text", "Uann"),
        (event("message"), "message", "Uann"),
        ({"type": "of tomorrow", "source": {"userId": 7}}, "of tomorrow", "unknown"),
        (7, "unknown", "unknown"),
    ],
)
def test_what_is_not_understood_is_kept_where_it_happened_without_the_reply_token(
    raw: Any, what: str, chat: str
) -> None:
    [one] = read(raw)
    assert isinstance(one.content, UnsupportedContent)
    assert (one.content.what, one.address.chat) == (what, chat)
    assert "a-reply-token" not in one.content.raw


def test_the_request_that_asks_whether_we_are_there_has_no_events() -> None:
    assert taken(posted(SECRET, [], NOON)) == Received(ignored=1)


def test_what_is_not_signed_so_is_not_verified_and_what_is_no_json_is_malformed() -> None:
    right = posted(SECRET, [event("follow")], NOON)
    INTO.verify(right)
    signature = right.headers["x-line-signature"]
    for headers in (
        {},
        {"x-line-signature": ""},
        {"x-line-signature": signature[:-2] + "A="},
        {"signature": signature},
    ):
        with pytest.raises(Unverified):
            INTO.verify(Request(body=right.body, headers=headers, received_at=NOON))
    with pytest.raises(Unverified):
        INTO.verify(Request(body=right.body + b" ", headers=right.headers, received_at=NOON))
    for body in (b"", b"[]", b"\xff"):
        with pytest.raises(Malformed):
            taken(signed(SECRET, body, NOON))
