"""What each platform sends, as the basis of what it does not: how it signs, and a body of each kind."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from agentbus.workers.adapters.port import Request
from tests.platforms import discord, feishu, line, slack, telegram, webchat, webhook, whatsapp
from tests.platforms.model import SECRET
from tests.platforms.webhook import WHSEC

Signed = Callable[[bytes, datetime], Request]


@dataclass(frozen=True)
class Sample:
    """A platform: an account, how a body is signed, and bodies."""

    account: dict[str, Any]
    signed: Signed
    bodies: Sequence[Any]


def _telegram() -> list[Any]:
    changed = {"chat": telegram.GROUP, "message_id": 1, "user": telegram.ANN, "date": telegram.DATE}
    thumb = [{"type": "emoji", "emoji": "👍"}]
    link = [{"type": "text_link", "offset": 0, "length": 2, "url": "https://example.org/"}]
    return [
        telegram.update(1, message=telegram.message(text="hello", entities=link)),
        telegram.update(2, message=telegram.message(photo=[{"file_id": "a"}], caption="c", media_group_id="g")),
        telegram.update(3, edited_message=telegram.message(text="hullo", edit_date=telegram.DATE)),
        telegram.update(4, callback_query={"id": "1", "from": telegram.ANN, "message": telegram.message()}),
        telegram.update(5, message_reaction={**changed, "old_reaction": [], "new_reaction": thumb}),
        telegram.update(6, message=telegram.message(new_chat_members=[telegram.ANN, telegram.BOB])),
        telegram.update(7, message=telegram.message(location={"latitude": 1.5, "longitude": 2})),
    ]


def _slack() -> list[Any]:
    later = "1764244860.000200"
    change = {"type": "message", "channel": "C1", "ts": later, "event_ts": later}
    item = {"type": "message", "channel": "C1", "ts": later}
    return [
        slack.callback(slack.message(files=[{"url_private": "https://x", "mimetype": "image/png"}])),
        slack.callback({**change, "subtype": "message_changed", "message": slack.message(text="hullo")}),
        slack.callback({**change, "subtype": "message_deleted", "deleted_ts": later}),
        slack.callback({"type": "reaction_added", "user": "U", "reaction": "r", "item": item, "event_ts": later}),
        slack.callback({"type": "member_joined_channel", "user": "U", "channel": "C1", "event_ts": later}),
        {"type": "url_verification", "challenge": "c"},
    ]


def _discord() -> list[Any]:
    options = [{"name": "add", "type": 1, "options": [{"name": "to", "value": "list"}]}]
    return [
        {"type": 1},
        discord.interaction(2, data={"name": "ask", "options": options}),
        discord.interaction(3, data={"custom_id": "pick", "values": ["a"]}, message={"id": "5"}),
    ]


def _whatsapp() -> list[Any]:
    status = {"id": "wamid.o", "status": "read", "timestamp": whatsapp.DATE, "recipient_id": whatsapp.ANN}
    card = {"name": {"formatted_name": "Eve"}, "phones": [{"phone": "+49 30 1"}]}
    return [
        whatsapp.webhook(messages=[whatsapp.message("text", text={"body": "hello"})], statuses=[status]),
        whatsapp.webhook(messages=[whatsapp.message("image", image={"id": "m", "caption": "c"})]),
        whatsapp.webhook(messages=[whatsapp.message("contacts", contacts=[card])]),
        whatsapp.webhook(messages=[whatsapp.message("reaction", reaction={"message_id": "w", "emoji": "👍"})]),
        whatsapp.webhook(messages=[whatsapp.message("button", button={"payload": "y", "text": "Yes"})]),
    ]


def _line() -> list[Any]:
    members = {"members": [{"type": "user", "userId": "U2"}]}
    text = {"id": "1", "type": "text", "text": "hello", "quotedMessageId": "0"}
    place = {"id": "2", "type": "location", "title": "t", "latitude": 1, "longitude": 2}
    return [
        {"destination": "U", "events": [line.event("message", message=text), line.event("follow", "02")]},
        {"destination": "U", "events": [line.event("message", message=place)]},
        {"destination": "U", "events": [line.event("memberJoined", joined=members)]},
        {"destination": "U", "events": [line.event("unsend", unsend={"messageId": "1"})]},
        {"destination": "U", "events": []},
    ]


def _feishu() -> list[Any]:
    post = {"title": "t", "content": [[{"tag": "a", "href": "https://x", "text": "y"}, {"tag": "img"}]]}
    users = [{"user_id": {"open_id": "ou_bob"}}]
    return [
        feishu.message("text", {"text": "@_user_1 hello"}, mentions=[{"key": "@_user_1", "name": "Bot"}]),
        feishu.message("post", post),
        feishu.event("im.chat.member.user.added_v1", chat_id="oc_1", users=users),
        feishu.event("card.action.trigger", operator={"open_id": "ou_ann"}, action={"value": {"a": 1}}),
        {"type": "url_verification", "token": feishu.TOKEN, "challenge": "c"},
    ]


def _webhook() -> list[Any]:
    files = ["https://example.org/a.png"]
    return [
        {"chat": "c", "user": "u", "message_id": "1", "text": "hello", "attachments": files},
        [{"chat": "c", "user": "u", "text": "one"}, {"chat": "c", "user": "u", "text": "two"}, 3],
    ]


def _webchat() -> list[Any]:
    return [
        {"id": "m1", "text": "hello", "reply_to": "m0"},
        {"id": "m2", "text": "/start now", "type": "message"},
    ]


SAMPLES: Final = {
    "telegram": Sample({"webhook_secret": SECRET}, lambda body, at: telegram.posted(SECRET, body, at), _telegram()),
    "slack": Sample(
        {"signing_secret": SECRET, "team": slack.TEAM}, lambda body, at: slack.signed(SECRET, body, at), _slack()
    ),
    "discord": Sample({"public_key": discord.PUBLIC}, discord.signed, _discord()),
    "whatsapp": Sample(
        {"app_secret": SECRET, "verify_token": SECRET, "phone_number_id": whatsapp.NUMBER},
        lambda body, at: whatsapp.signed(SECRET, body, at),
        _whatsapp(),
    ),
    "line": Sample({"channel_secret": SECRET}, lambda body, at: line.signed(SECRET, body, at), _line()),
    "feishu": Sample(
        {"encrypt_key": SECRET, "verification_token": feishu.TOKEN},
        lambda body, at: feishu.signed(SECRET, feishu.encrypted(SECRET, body), at),
        _feishu(),
    ),
    "webhook": Sample({"secret": WHSEC}, lambda body, at: webhook.signed(WHSEC, body, told="msg_1", at=at), _webhook()),
    "webchat": Sample({"secret": SECRET}, lambda body, at: webchat.posted(SECRET, body, at), _webchat()),
}
