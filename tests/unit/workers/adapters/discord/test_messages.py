"""What Discord's gateway dispatches becomes the contracts' contents: by table."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from agentbus.contracts.envelope import InputEnvelope
from agentbus.contracts.messages import (
    Attachment,
    AttachmentKind,
    Content,
    DeleteContent,
    EditContent,
    Membership,
    MembershipContent,
    ReactionContent,
    TextContent,
    UnsupportedContent,
)
from agentbus.testing.adapters import mutated
from agentbus.workers.adapters.discord.media import DiscordMedia
from agentbus.workers.adapters.discord.messages import DiscordMessages, Told
from agentbus.workers.adapters.port import Link, Received
from tests.platforms.discord_gateway import BOT, FIRST, message, user

NOON = datetime(2025, 11, 27, 12, tzinfo=UTC)
ID = str(FIRST)
EDITED = "2025-11-27T13:00:00.000000+00:00"
PHOTO = {"id": "3", "filename": "a.png", "content_type": "image/png", "size": 9, "url": "https://cdn.test/a.png?ex=1"}
THUMB = {"user_id": "7", "channel_id": "8", "message_id": "5", "emoji": {"id": None, "name": "👍"}}


def read(event: str, data: Mapping[str, Any], *, bots: bool = False, known: str = "s:1") -> Received:
    return DiscordMessages("mybot", bots=bots).read(Told(event, data, known, BOT, NOON))


TABLE: dict[str, tuple[str, dict[str, Any], Content | None]] = {
    "a text": ("MESSAGE_CREATE", message(0, "hello"), TextContent(text="hello")),
    "an answer": (
        "MESSAGE_CREATE",
        message(0, "yes", type=19, message_reference={"type": 0, "message_id": "5"}),
        TextContent(text="yes", reply_to="5"),
    ),
    "a file": (
        "MESSAGE_CREATE",
        message(0, "", attachments=[PHOTO]),
        TextContent(
            attachments=(
                Attachment(
                    kind=AttachmentKind.IMAGE,
                    uri=f"discord:attachment/8/{ID}/3",
                    media_type="image/png",
                    name="a.png",
                    size=9,
                ),
            )
        ),
    ),
    "a sticker": (
        "MESSAGE_CREATE",
        message(0, "", sticker_items=[{"id": "4", "name": "wave", "format_type": 4}]),
        TextContent(
            attachments=(
                Attachment(kind=AttachmentKind.STICKER, uri="https://cdn.discordapp.com/stickers/4.gif", name="wave"),
            )
        ),
    ),
    "what is forwarded": (
        "MESSAGE_CREATE",
        message(
            0,
            "look",
            message_reference={"type": 1, "message_id": "5"},
            message_snapshots=[{"message": {"content": "said there", "attachments": []}}],
        ),
        TextContent(text="look\n[forwarded]\nsaid there"),
    ),
    "somebody comes": (
        "MESSAGE_CREATE",
        message(0, "", type=7),
        MembershipContent(change=Membership.JOINED, members=("7",)),
    ),
    "somebody is added": (
        "MESSAGE_CREATE",
        message(0, "", type=1, mentions=[user(12)]),
        MembershipContent(change=Membership.JOINED, members=("12",)),
    ),
    "somebody is taken out": (
        "MESSAGE_CREATE",
        message(0, "", type=2, mentions=[user(12)]),
        MembershipContent(change=Membership.LEFT, members=("12",)),
    ),
    "an edit": (
        "MESSAGE_UPDATE",
        message(0, "hullo", edited_timestamp=EDITED),
        EditContent(target=ID, text="hullo"),
    ),
    "a link's preview": ("MESSAGE_UPDATE", message(0, "hullo", embeds=[{}]), None),
    "a deletion": ("MESSAGE_DELETE", {"id": "5", "channel_id": "8", "guild_id": "9"}, DeleteContent(target="5")),
    "a reaction": ("MESSAGE_REACTION_ADD", THUMB, ReactionContent(target="5", reaction="👍")),
    "one with a server's own emoji": (
        "MESSAGE_REACTION_ADD",
        {**THUMB, "emoji": {"id": "77", "name": "cat"}, "message_author_id": "12"},
        ReactionContent(target="5", target_user="12", reaction="cat:77"),
    ),
    "one that is taken back": (
        "MESSAGE_REACTION_REMOVE",
        THUMB,
        ReactionContent(target="5", reaction="👍", removed=True),
    ),
    "our own message": ("MESSAGE_CREATE", message(0, author=user(int(BOT), bot=True)), None),
    "our own message that is odd": ("MESSAGE_CREATE", message(0, content=7, author={"id": BOT}), None),
    "our own reaction": ("MESSAGE_REACTION_ADD", {**THUMB, "user_id": BOT}, None),
    "another bot's": ("MESSAGE_CREATE", message(0, author=user(13, bot=True)), None),
    "its edit": ("MESSAGE_UPDATE", message(0, author=user(13, bot=True), edited_timestamp=EDITED), None),
    "what is about no message": ("CHANNEL_UPDATE", {"id": "8"}, None),
}


@pytest.mark.parametrize("what", TABLE)
def test_what_is_dispatched(what: str) -> None:
    event, data, content = TABLE[what]
    received = read(event, data)
    assert [one.content for one in received.messages] == ([content] if content else [])
    assert received.ignored == (0 if content else 1)
    for one in received.messages:
        assert (one.address.account, one.address.chat, one.address.thread) == ("mybot", "8", None)


def test_who_said_it_when_and_under_which_name() -> None:
    [one] = read("MESSAGE_CREATE", message(0, author=user(7, global_name="Ann"), member={"nick": "Annie"})).messages
    assert (one.message_id, one.address.user, one.sender_name) == (ID, "7", "Annie")
    assert one.sent_at - datetime(2025, 11, 27, 13, 51, tzinfo=UTC) < timedelta(minutes=1)
    [same] = read("MESSAGE_CREATE", message(0, author=user(7, global_name="Ann")), known="history").messages
    assert (same.sender_name, same.input_id()) == ("Ann", one.input_id())


def test_what_is_known_by_what() -> None:
    def ids(event: str, data: Mapping[str, Any], known: str) -> list[str]:
        return [one.input_id() for one in read(event, data, known=known).messages]

    edit = message(0, "hullo", edited_timestamp=EDITED)
    assert ids("MESSAGE_UPDATE", edit, "a:1") == ids("MESSAGE_UPDATE", {**edit, "embeds": [{}]}, "a:2")
    assert ids("MESSAGE_UPDATE", edit, "a:1") != ids(
        "MESSAGE_UPDATE", {**edit, "edited_timestamp": EDITED.replace("13", "14")}, "a:1"
    )
    assert ids("MESSAGE_REACTION_ADD", THUMB, "a:1") == ids("MESSAGE_REACTION_ADD", THUMB, "a:1")
    assert ids("MESSAGE_REACTION_ADD", THUMB, "a:1") != ids("MESSAGE_REACTION_ADD", THUMB, "a:2")
    many = ids("MESSAGE_DELETE_BULK", {"ids": ["5", "6"], "channel_id": "8"}, "a:1")
    assert many == [one for gone in "56" for one in ids("MESSAGE_DELETE", {"id": gone, "channel_id": "8"}, "a:9")]


def test_other_bots_are_heard_if_the_account_wants_it() -> None:
    said = message(0, author=user(13, bot=True), webhook_id="13")
    assert [one.content for one in read("MESSAGE_CREATE", said, bots=True).messages] == [TextContent(text="hello")]
    assert not read("MESSAGE_CREATE", message(0, author=user(int(BOT), bot=True)), bots=True).messages


@pytest.mark.parametrize(
    ("event", "data", "what"),
    [
        ("MESSAGE_CREATE", message(0, "", poll={"question": {}}), "message 0"),
        ("MESSAGE_CREATE", message(0, "pinned", type=6), "message 6"),
        ("MESSAGE_CREATE", message(0, attachments=[7]), "message 0"),
        ("MESSAGE_CREATE", {}, "message None"),
        ("MESSAGE_UPDATE", message(0, edited_timestamp="soon"), "message_update"),
        ("MESSAGE_DELETE", {"channel_id": "8"}, "message_delete"),
        ("MESSAGE_REACTION_REMOVE_ALL", {"channel_id": "8", "message_id": "5"}, "message_reaction_remove_all"),
        ("MESSAGE_POLL_VOTE_ADD", {"channel_id": "8", "user_id": "7"}, "message_poll_vote_add"),
    ],
)
def test_what_is_not_understood_is_kept(event: str, data: dict[str, Any], what: str) -> None:
    [one] = read(event, data).messages
    assert isinstance(one.content, UnsupportedContent)
    assert one.content.what == what
    assert json.loads(one.content.raw) == data
    assert one.address.chat == data.get("channel_id", "unknown")


def test_whatever_stands_in_a_dispatch_becomes_messages_that_fit() -> None:
    chance = Random(62)
    for event, data, _ in TABLE.values():
        for _ in range(40):
            odd = mutated(data, chance)
            received = read(event, json.loads(json.dumps(odd)) if isinstance(odd, dict) else {}, bots=True)
            assert received.messages or received.ignored
            for one in received.messages:
                raw = InputEnvelope(id=one.input_id(), data=one).to_bytes()
                assert InputEnvelope.from_bytes(raw).data == one


async def test_a_file_is_found_by_its_message_and_its_link_is_shown_no_token() -> None:
    media = DiscordMedia("https://discord.test/api", "a-token")
    asked: list[Link] = []

    async def ask(link: Link) -> Mapping[str, Any]:
        asked.append(link)
        return {
            "attachments": [PHOTO],
            "message_snapshots": [7, {"message": {"attachments": [{"id": "4", "url": "https://cdn.test/b"}]}}],
        }

    link = await media.link(Attachment(uri="discord:attachment/8/5/3"), ask)
    assert link is not None
    assert (link.url, link.headers) == (PHOTO["url"], {})
    forwarded = await media.link(Attachment(uri="discord:attachment/8/6/4"), ask)
    assert forwarded is not None
    assert forwarded.url == "https://cdn.test/b"
    assert [one.url for one in asked] == [
        "https://discord.test/api/channels/8/messages/5",
        "https://discord.test/api/channels/8/messages/6",
    ]
    assert asked[0].headers == {"Authorization": "Bot a-token"}
    assert asked[0].hosts == {"discord.test"}
    for uri in ("discord:attachment/8/5", "discord:attachment/8/../3", "discord:attachment/8/5/77"):
        with pytest.raises(ValueError, match="file"):
            await media.link(Attachment(uri=uri), ask)
    assert await media.link(Attachment(uri="https://elsewhere.test/"), ask) is None
