import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agentbus.contracts.messages import (
    Attachment,
    AttachmentKind,
    ButtonContent,
    CommandContent,
    Content,
    DeleteContent,
    EditContent,
    InboundMessage,
    Membership,
    MembershipContent,
    ReactionContent,
    TextContent,
    UnsupportedContent,
)
from agentbus.workers.adapters.port import Malformed, Received, Request, Unverified
from agentbus.workers.adapters.slack.account import SlackAccount
from agentbus.workers.adapters.slack.inbound import SlackInbound
from tests.platforms.slack import APP, TEAM, callback, form, message, posted, signed

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
SECRET = "0123456789abcdef0123456789abcdef"  # noqa: S105 - nobody's
INTO = SlackInbound("work", SlackAccount(signing_secret=SECRET, team=TEAM))
TS = "1764244800.000100"
LATER = "1764244860.000200"


def taken(request: Request) -> Received:
    INTO.verify(request)
    return INTO.parse(request)


def read(event: dict[str, Any], **wrapping: str) -> list[InboundMessage]:
    return list(taken(posted(SECRET, callback(event, **wrapping), NOON)).messages)


def test_a_message_and_the_mention_in_it_are_one_whatever_they_are_wrapped_in() -> None:
    [one] = read(message())
    [mention] = read(message(type="app_mention"), event_id="Ev02")

    assert one.address.model_dump(exclude_none=True) == {
        "platform": "slack",
        "account": "work",
        "chat": "C1",
        "user": "U1",
    }
    assert (one.message_id, one.content) == (TS, TextContent(text="hello"))
    assert one.sent_at == datetime.fromtimestamp(float(TS), UTC).replace(microsecond=0)
    assert mention.input_id() == one.input_id()


def test_another_workspace_that_the_app_is_in_has_chats_of_its_own() -> None:
    [one] = read(message(), team="T0002")
    assert one.address.chat == "T0002/C1"


def test_a_reply_is_in_its_thread_and_what_the_thread_starts_from_is_not() -> None:
    [reply] = read(message(LATER, thread_ts=TS))
    [root] = read(message(TS, thread_ts=TS))
    assert (reply.address.thread, root.address.thread) == (TS, None)


def test_files_come_by_reference() -> None:
    file = {"url_private": "https://files.slack.com/x", "mimetype": "image/png", "name": "x.png", "size": 7}
    [one] = read(message(subtype="file_share", text="look", files=[file]))
    assert one.content == TextContent(
        text="look",
        attachments=(
            Attachment(
                kind=AttachmentKind.IMAGE, uri="https://files.slack.com/x", media_type="image/png", name="x.png", size=7
            ),
        ),
    )


CHANGED = {"type": "message", "subtype": "message_changed", "channel": "C1", "ts": LATER, "event_ts": LATER}


def changed(**now: Any) -> dict[str, Any]:
    return {**CHANGED, "message": {**message(), **now}, "previous_message": message()}


def test_an_edit_names_its_message_and_its_writer() -> None:
    [one] = read(changed(text="hullo"))
    assert (one.message_id, one.content) == (
        f"{TS}:edit:{LATER}",
        EditContent(target=TS, target_user="U1", text="hullo"),
    )


def test_a_deletion_is_one_whether_a_tombstone_is_left_or_not() -> None:
    gone = {**CHANGED, "subtype": "message_deleted", "deleted_ts": TS, "previous_message": message()}
    [one] = read(gone)
    [stone] = read(changed(subtype="tombstone", text="This message was deleted."))
    [unseen] = read({**gone, "previous_message": None})

    assert one.content == DeleteContent(target=TS, target_user="U1")
    assert stone.input_id() == one.input_id()
    assert unseen.content == DeleteContent(target=TS)


@pytest.mark.parametrize(
    "event",
    [
        changed(attachments=[{"title": "a preview of a link"}]),
        changed(app_id=APP, text="edited by ourselves"),
        message(subtype="bot_message", app_id=APP, bot_id="B1"),
        {**CHANGED, "subtype": "message_deleted", "deleted_ts": TS, "previous_message": message(app_id=APP)},
    ],
)
def test_what_the_app_says_and_previews_of_links_are_passed_over(event: dict[str, Any]) -> None:
    assert taken(posted(SECRET, callback(event), NOON)) == Received(ignored=1)


def test_reactions_name_their_message_and_its_writer() -> None:
    event = {
        "type": "reaction_added",
        "user": "U2",
        "reaction": "thumbsup",
        "item": {"type": "message", "channel": "C1", "ts": TS},
        "item_user": "U1",
        "event_ts": LATER,
    }
    [added] = read(event)
    [removed] = read({**event, "type": "reaction_removed"})

    assert (added.address.user, added.place.user) == ("U2", "U1")
    assert added.content == ReactionContent(target=TS, target_user="U1", reaction="thumbsup")
    assert isinstance(removed.content, ReactionContent)
    assert removed.content.removed


def test_who_joins_is_one_notice_whether_the_channel_says_it_or_the_event_about_the_member() -> None:
    [one] = read({"type": "member_joined_channel", "user": "U3", "channel": "C1", "event_ts": "1764244800.000400"})
    [again] = read(message(subtype="channel_join", user="U3", text="<@U3> has joined the channel"))
    [left] = read({"type": "member_left_channel", "user": "U3", "channel": "C1", "event_ts": LATER})

    assert one.content == MembershipContent(change=Membership.JOINED, members=("U3",))
    assert again.input_id() == one.input_id()
    assert left.content == MembershipContent(change=Membership.LEFT, members=("U3",))


def test_a_slash_command() -> None:
    fields = {
        "token": "t",
        "team_id": TEAM,
        "channel_id": "C1",
        "user_id": "U1",
        "user_name": "ann",
        "command": "/weather",
        "text": "now & here é",
        "trigger_id": "13.45.x",
    }
    [one] = taken(form(SECRET, fields, NOON)).messages
    assert (one.message_id, one.sender_name) == ("command:13.45.x", "ann")
    assert one.content == CommandContent(name="weather", arguments="now & here é")


@pytest.mark.parametrize(
    ("action", "content"),
    [
        (
            {"action_id": "a", "value": "y", "text": {"type": "plain_text", "text": "Yes"}},
            ButtonContent(data="y", label="Yes", target=TS),
        ),
        (
            {"action_id": "a", "selected_option": {"value": "r", "text": {"type": "plain_text", "text": "Red"}}},
            ButtonContent(data="r", label="Red", target=TS),
        ),
        ({"action_id": "a", "selected_users": ["U1"]}, ButtonContent(data="a", target=TS)),
    ],
)
def test_buttons_and_menus(action: dict[str, Any], content: Content) -> None:
    payload = {
        "type": "block_actions",
        "team": {"id": TEAM},
        "user": {"id": "U1", "username": "ann"},
        "channel": {"id": "C1"},
        "message": {**message(), "thread_ts": "1.2"},
        "actions": [{"action_ts": "1764244860.3", **action}],
    }
    [one] = taken(form(SECRET, {"payload": json.dumps(payload)}, NOON)).messages
    assert (one.content, one.address.thread) == (content, "1.2")
    assert one.message_id == "action:1764244860.3:a"


@pytest.mark.parametrize(
    ("event", "what", "chat", "user"),
    [
        (message(subtype="channel_topic", topic="t"), "channel_topic", "C1", "U1"),
        (message(ts="now"), "message", "C1", "U1"),
        (message(text="x" * 300_000), "message", "C1", "U1"),
        ({"type": "channel_created", "channel": {"id": "C9"}}, "channel_created", "C9", "unknown"),
        ({"type": "app_home_opened", "user": "U1", "channel": "D1"}, "app_home_opened", "D1", "U1"),
        ({"type": "reaction_added", "item": {"type": "file", "file": "F1"}}, "reaction_added", "unknown", "unknown"),
        ({}, "unknown", "unknown", "unknown"),
    ],
)
def test_what_is_not_understood_is_kept_where_it_happened_without_the_token(
    event: dict[str, Any], what: str, chat: str, user: str
) -> None:
    [one] = read(event)
    assert isinstance(one.content, UnsupportedContent)
    assert one.content.what == what
    assert "a-deprecated-token" not in one.content.raw
    assert (one.address.chat, one.address.user, one.message_id) == (chat, user, "Ev01")


def test_other_posts_of_slacks_are_kept_too() -> None:
    [limited] = taken(posted(SECRET, {"type": "app_rate_limited", "team_id": TEAM}, NOON)).messages
    [view] = taken(form(SECRET, {"payload": '{"type": "view_submission", "user": {"id": "U1"}}'}, NOON)).messages
    [odd] = taken(form(SECRET, {"ssl_check": "1"}, NOON)).messages
    found = [(one.content.what, one.address.user) for one in (limited, view, odd) if hasattr(one.content, "what")]
    assert found == [("app_rate_limited", "unknown"), ("view_submission", "U1"), ("form", "unknown")]


def test_the_challenge_is_answered() -> None:
    body = {"type": "url_verification", "token": "t", "challenge": "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmd"}
    received = taken(posted(SECRET, body, NOON))
    assert received.messages == ()
    assert (received.answer.status, received.answer.body) == (200, b"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmd")


@pytest.mark.parametrize("body", [b"", b"[]", b"1", b"\xff", b"{"])
def test_what_is_no_event_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        taken(signed(SECRET, body, NOON))


@pytest.mark.parametrize("body", [b"payload=", b"payload=[]", b"\xff", b"&".join([b"a=1"] * 200)])
def test_what_is_no_form_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        taken(signed(SECRET, body, NOON, "application/x-www-form-urlencoded; charset=utf-8"))


def test_what_is_not_signed_so_is_not_verified() -> None:
    right = posted(SECRET, callback(message()), NOON)
    INTO.verify(right)
    INTO.verify(Request(body=right.body, headers=right.headers, received_at=NOON + timedelta(seconds=300)))
    for late in (301, -301):
        with pytest.raises(Unverified, match="too long ago"):
            INTO.verify(Request(body=right.body, headers=right.headers, received_at=NOON + timedelta(seconds=late)))
    for name in ("x-slack-signature", "x-slack-request-timestamp"):
        for headers in (
            {**right.headers, name: ""},
            {**right.headers, name: right.headers[name][:-1] + "x"},
            {key: value for key, value in right.headers.items() if key != name},
        ):
            with pytest.raises(Unverified):
                INTO.verify(Request(body=right.body, headers=headers, received_at=NOON))
    with pytest.raises(Unverified):
        INTO.verify(Request(body=right.body + b" ", headers=right.headers, received_at=NOON))
