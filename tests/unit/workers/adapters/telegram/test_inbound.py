from datetime import UTC, datetime
from typing import Any

import pytest

from agentbus.contracts.messages import (
    Attachment,
    AttachmentKind,
    ButtonContent,
    CommandContent,
    EditContent,
    InboundMessage,
    Membership,
    MembershipContent,
    ReactionContent,
    TextContent,
    UnsupportedContent,
)
from agentbus.workers.adapters.port import Malformed, Request, Unverified
from agentbus.workers.adapters.telegram.account import TelegramAccount
from agentbus.workers.adapters.telegram.inbound import TelegramInbound
from tests.platforms.telegram import ANN, BOB, DATE, GROUP, message, posted, update

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
SECRET = "a-secret-of-Telegram_1"  # noqa: S105 - nobody's
INTO = TelegramInbound("mybot", TelegramAccount(webhook_secret=SECRET, username="MyBot"))


def read(body: dict[str, Any]) -> list[InboundMessage]:
    request = posted(SECRET, body, NOON)
    INTO.verify(request)
    return list(INTO.parse(request).messages)


def said(**parts: Any) -> Any:
    [one] = read(update(1, message=message(**parts)))
    return one.content


def test_a_text_in_a_private_chat() -> None:
    [one] = read(update(1, message=message(text="hello")))

    assert one.address.model_dump() == {
        "platform": "telegram",
        "account": "mybot",
        "chat": "7",
        "thread": None,
        "user": "7",
    }
    assert (one.message_id, one.sender_name) == ("42", "Ann Lee")
    assert one.sent_at == datetime.fromtimestamp(DATE, UTC)
    assert one.content == TextContent(text="hello")


def test_the_same_update_has_the_same_id_however_often_it_is_posted() -> None:
    body = update(9, edited_message=message(text="hello", edit_date=DATE + 5))
    assert [one.input_id() for one in read(body)] == [one.input_id() for one in read(body)]


def test_a_topic_is_a_thread_and_what_a_message_answers_to_is_kept_unless_it_began_the_topic() -> None:
    in_topic: dict[str, Any] = {"chat": GROUP, "message_thread_id": 5, "is_topic_message": True, "text": "hi"}
    [first] = read(update(1, message=message(reply_to_message={"message_id": 5, "date": 1}, **in_topic)))
    [second] = read(update(2, message=message(reply_to_message={"message_id": 6, "date": 1}, **in_topic)))
    [third] = read(update(3, message=message(chat=GROUP, message_thread_id=5, text="hi")))

    assert (first.address.chat, first.address.thread, first.content) == ("-1001", "5", TextContent(text="hi"))
    assert second.content == TextContent(text="hi", reply_to="6")
    assert third.address.thread is None


@pytest.mark.parametrize(
    ("text", "length", "content"),
    [
        ("/start", 6, CommandContent(name="start")),
        ("/start deep link", 6, CommandContent(name="start", arguments="deep link")),
        ("/help@mybot now", 11, CommandContent(name="help", arguments="now")),
        ("/help@otherbot now", 14, TextContent(text="/help@otherbot now")),
    ],
)
def test_a_command_is_what_telegram_marks_as_one_and_is_for_this_bot(text: str, length: int, content: Any) -> None:
    assert said(text=text, entities=[{"type": "bot_command", "offset": 0, "length": length}]) == content
    assert said(text=text) == TextContent(text=text)


def test_links_addresses_stand_behind_their_words_and_who_said_it_first_before() -> None:
    entities = [{"type": "text_link", "offset": 3, "length": 4, "url": "https://example.org/"}]
    assert said(text="😀 here it is", entities=entities) == TextContent(text="😀 here (https://example.org/) it is")
    origin = {"type": "user", "sender_user": BOB, "date": 1}
    assert said(text="so", forward_origin=origin) == TextContent(text="[forwarded from Bob]\nso")


PHOTO = [{"file_id": "small", "file_size": 10}, {"file_id": "large", "file_size": 2000}]
DOCUMENT = {"file_id": "d", "file_name": "a.pdf", "mime_type": "application/pdf", "file_size": 9}


@pytest.mark.parametrize(
    ("parts", "attachment"),
    [
        ({"photo": PHOTO}, Attachment(kind=AttachmentKind.IMAGE, uri="telegram:file/large", size=2000)),
        (
            {"document": DOCUMENT},
            Attachment(uri="telegram:file/d", media_type="application/pdf", name="a.pdf", size=9),
        ),
        (
            {"animation": {"file_id": "g"}, "document": {"file_id": "g"}},
            Attachment(kind=AttachmentKind.VIDEO, uri="telegram:file/g"),
        ),
        ({"video_note": {"file_id": "v"}}, Attachment(kind=AttachmentKind.VIDEO, uri="telegram:file/v")),
        ({"voice": {"file_id": "v"}}, Attachment(kind=AttachmentKind.AUDIO, uri="telegram:file/v")),
        ({"sticker": {"file_id": "s"}}, Attachment(kind=AttachmentKind.STICKER, uri="telegram:file/s")),
        (
            {"location": {"latitude": 52.5, "longitude": 13.4}},
            Attachment(kind=AttachmentKind.LOCATION, uri="geo:52.5,13.4"),
        ),
        (
            {"contact": {"phone_number": "+49 (30) 1", "first_name": "Eve"}},
            Attachment(kind=AttachmentKind.CONTACT, uri="tel:+49301", name="Eve"),
        ),
    ],
)
def test_what_comes_with_a_message_is_attached_by_reference(parts: dict[str, Any], attachment: Attachment) -> None:
    assert said(caption="look", **parts) == TextContent(text="look", attachments=(attachment,))


def test_a_place_has_its_name_and_the_members_of_an_album_have_its_id() -> None:
    place = {"location": {"latitude": 1, "longitude": 2}, "venue": {"title": "Café", "address": "Street 1"}}
    assert said(**place).text == "Café\nStreet 1"
    assert said(photo=PHOTO, media_group_id="777").album == "777"


def test_an_edit_names_its_message_and_is_known_by_its_update() -> None:
    [one] = read(update(9, edited_message=message(text="hallo", edit_date=DATE + 5)))
    [two] = read(update(10, edited_message=message(text="hullo", edit_date=DATE + 5)))

    assert one.content == EditContent(target="42", text="hallo")
    assert (one.message_id, two.message_id) == ("42:edit:9", "42:edit:10")
    assert one.sent_at == datetime.fromtimestamp(DATE + 5, UTC)


def test_a_pressed_button_says_what_was_written_into_it_and_on_it() -> None:
    keyboard = {"inline_keyboard": [[{"text": "No", "callback_data": "n"}, {"text": "Yes", "callback_data": "y"}]]}
    pressed = {"id": "4382", "from": ANN, "data": "y", "message": {**message(), "reply_markup": keyboard}}
    [one] = read(update(1, callback_query=pressed))
    [inline] = read(update(1, callback_query={"id": "4383", "from": ANN, "inline_message_id": "x", "data": "z"}))

    assert one.content == ButtonContent(data="y", label="Yes", target="42")
    assert (one.message_id, one.address.chat, one.sent_at) == ("callback:4382", "7", NOON)
    assert (inline.content, inline.address.chat) == (ButtonContent(data="z"), "7")


def test_reactions_are_what_has_changed() -> None:
    thumb, heart = ({"type": "emoji", "emoji": emoji} for emoji in "👍❤")
    custom = {"type": "custom_emoji", "custom_emoji_id": "555"}
    changed = {"chat": GROUP, "message_id": 42, "user": ANN, "date": DATE}
    found = read(
        update(3, message_reaction={**changed, "old_reaction": [thumb, heart], "new_reaction": [heart, custom]})
    )

    assert [(one.message_id, one.content) for one in found] == [
        ("reaction:3:0", ReactionContent(target="42", reaction="👍", removed=True)),
        ("reaction:3:1", ReactionContent(target="42", reaction="555")),
    ]
    assert {(one.address.chat, one.address.user) for one in found} == {("-1001", "7")}


def test_who_joins_is_one_notice_whether_the_group_says_it_or_the_update_about_the_member() -> None:
    two = read(update(1, message=message(chat=GROUP, new_chat_members=[ANN, BOB])))
    assert [one.content for one in two] == [
        MembershipContent(change=Membership.JOINED, members=("7",)),
        MembershipContent(change=Membership.JOINED, members=("8",)),
    ]
    changed = {"chat": GROUP, "from": ANN, "date": DATE, "old_chat_member": {"status": "left", "user": BOB}}
    [again] = read(update(2, chat_member={**changed, "new_chat_member": {"status": "member", "user": BOB}}))
    assert again.input_id() == two[1].input_id()
    [left] = read(update(3, message=message(chat=GROUP, left_chat_member=BOB)))
    assert left.content == MembershipContent(change=Membership.LEFT, members=("8",))


@pytest.mark.parametrize(
    ("parts", "what", "chat", "user"),
    [
        ({"message": message(poll={"id": "1", "question": "?"})}, "poll", "7", "7"),
        ({"message": message(chat=GROUP, new_chat_title="New")}, "new_chat_title", "-1001", "7"),
        ({"message": message(text="x" * 300_000)}, "text", "7", "7"),
        ({"message": message(location={"latitude": 1e999, "longitude": 0})}, "location", "7", "7"),
        ({"message": {"message_id": "a", "chat": {"id": 3}}}, "message", "3", "3"),
        ({"message": [1, 2]}, "message", "unknown", "unknown"),
        ({"message": message(date=10**18, text="late")}, "text", "7", "7"),
        ({"poll_answer": {"poll_id": "1", "user": ANN, "option_ids": [0]}}, "poll_answer", "7", "7"),
        ({"inline_query": {"id": "1", "from": ANN, "query": "q"}}, "inline_query", "7", "7"),
        ({"a_kind_of_tomorrow": {"chat": GROUP, "from": BOB}}, "a_kind_of_tomorrow", "-1001", "8"),
        ({}, "unknown", "unknown", "unknown"),
    ],
)
def test_what_is_not_understood_is_kept_where_it_happened(
    parts: dict[str, Any], what: str, chat: str, user: str
) -> None:
    [one] = read(update(5, **parts))

    assert isinstance(one.content, UnsupportedContent)
    assert one.content.what == what
    assert '"update_id":5' in one.content.raw
    assert (one.address.chat, one.address.user, one.message_id) == (chat, user, "update:5")


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"update_id": "1"}', b'{"update_id": true}', b"\xff"])
def test_what_is_no_update_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        INTO.parse(posted(SECRET, body, NOON))


def test_a_lone_surrogate_does_not_come_further() -> None:
    [one] = INTO.parse(posted(SECRET, b'{"update_id":1,"message":"\\ud800"}', NOON)).messages
    assert isinstance(one.content, UnsupportedContent)
    assert "\ufffd" in one.content.raw


def test_only_the_secret_of_the_webhook_verifies_and_without_one_nothing_does() -> None:
    INTO.verify(posted(SECRET, {}, NOON))
    for wrong in (*("", SECRET[:-1], SECRET + "x", SECRET.upper(), "é"),):
        with pytest.raises(Unverified):
            INTO.verify(posted(wrong, {}, NOON))
    with pytest.raises(Unverified, match="is missing"):
        INTO.verify(Request(body=b"{}", received_at=NOON))
    without = TelegramInbound("mybot", TelegramAccount())
    for given in ("", "None", SECRET):
        with pytest.raises(Unverified):
            without.verify(posted(given, {}, NOON))
