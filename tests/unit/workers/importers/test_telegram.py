"""Telegram Desktop's exports."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from agentbus.contracts.messages import Attachment, AttachmentKind, InboundMessage, ReactionContent, TextContent
from agentbus.workers.importers import HistoryFormat, HistoryUnreadable, read_history
from agentbus.workers.importers.port import NOT_EXPORTED

SAMPLES = Path(__file__).parents[3] / "samples" / "histories" / "telegram"

Export = Callable[[Any], Path]


@pytest.fixture
def export(tmp_path: Path) -> Export:
    def write(content: Any) -> Path:
        path = tmp_path / "garden.json"
        path.write_text(json.dumps(content))
        return path

    return write


@pytest.fixture
def account() -> list[InboundMessage]:
    return list(read_history(SAMPLES / "result.json", zone=ZoneInfo("Europe/Berlin")))


def content(message: InboundMessage) -> TextContent:
    assert isinstance(message.content, TextContent)
    return message.content


def test_chats_and_users_have_the_bot_apis_ids(account: list[InboundMessage]) -> None:
    assert [(m.address.chat, m.address.user, m.message_id) for m in account] == [
        ("7", "7", "1"),
        ("7", "8", "3"),
        ("7", "7", "3:reaction:7:👍"),
        ("7", "7", "4"),
        ("-1000000000007", "9", "1"),
        ("-1000000000007", "channel5", "2"),
        ("-1000000000007", "unknown", "3"),
        ("-1000000000007", "7", "4"),
        ("-1000000000007", "7", "5"),
        ("-7", "7", "1"),
    ]


def test_texts_and_replies(account: list[InboundMessage]) -> None:
    assert content(account[0]) == TextContent(text="Hello")
    assert content(account[1]) == TextContent(text="See https://example.org/!", reply_to="1")
    assert content(account[8]).reply_to is None


def test_times_are_unix_times_else_local(account: list[InboundMessage]) -> None:
    assert account[0].sent_at == datetime(2024, 3, 9, 9, tzinfo=UTC)
    assert account[3].sent_at == datetime(2024, 3, 9, 9, 2, tzinfo=UTC)


def test_a_reaction_follows_its_message(account: list[InboundMessage]) -> None:
    assert account[2].content == ReactionContent(target="3", target_user="8", reaction="👍")
    assert (account[2].sender_name, account[2].sent_at) == ("Ann", datetime(2024, 3, 9, 10, 30, tzinfo=UTC))


def test_attachments_by_reference(account: list[InboundMessage]) -> None:
    assert [content(message).attachments for message in account[4:9]] == [
        (Attachment(kind=AttachmentKind.IMAGE, uri="photos/p 1.jpg", size=2048),),
        (Attachment(kind=AttachmentKind.AUDIO, uri="voice_messages/a.ogg", media_type="audio/ogg"),),
        (Attachment(uri=NOT_EXPORTED, media_type="application/pdf", name="plan.pdf", size=5),),
        (Attachment(kind=AttachmentKind.LOCATION, uri="geo:48.5,-9.25"),),
        (Attachment(kind=AttachmentKind.STICKER, uri="stickers/s.webp", media_type="image/webp"),),
    ]


def test_without_ids_names_and_contents_stand_in() -> None:
    messages = list(read_history(SAMPLES / "one_chat.json"))
    assert [(m.address.chat, m.address.user, m.sender_name) for m in messages] == [
        ("one_chat", "Ann", "Ann"),
        ("one_chat", "Ann", "Ann"),
        ("one_chat", "Bo", "Bo"),
    ]
    assert len({one.message_id for one in messages}) == 3
    assert all(one.message_id.startswith("said:") for one in messages)


def test_lone_surrogates_become_replacement_characters(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(
        b'{"name": "A\\ud83d", "messages": [{"date_unixtime": "0", "from": "\\uDE00", '
        b'"text": ["x\\ud83d", {"text": "\\ud83d\\ude00"}], "\\udfff": null}]}'
    )
    (message,) = read_history(path)
    assert (message.address.chat, message.sender_name, content(message).text) == ("A\ufffd", "\ufffd", "x\ufffd😀")


@pytest.mark.parametrize("name", ["", "n" * 300, "\n"])
def test_unfit_names_still_name(export: Export, name: str) -> None:
    (message,) = read_history(export({"name": name, "messages": [{"date_unixtime": 0, "from": name, "text": "x"}]}))
    assert message.address.chat
    assert message.address.user


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("text", "Input should be"),
        ({"text": "x"}, "neither date_unixtime nor date"),
        ({"text": 5, "date_unixtime": "1"}, r"text\.str: Input should be a valid string"),
        ({"text": "x", "date_unixtime": "soon"}, "date_unixtime: Input should be a valid integer"),
        ({"text": "x", "date_unixtime": 10**15}, "date_unixtime: Input should be less than"),
        ({"text": "x", "date": "0001-01-01T00:00:00+14:00"}, "outside the years"),
        ({"text": "x" * 262_145, "date_unixtime": 1}, "text: String should have at most"),
        ({"file": "x" * 3000, "date_unixtime": 1}, "uri: String should have at most"),
    ],
)
def test_a_bad_message_is_told_and_passed_over(export: Export, entry: Any, problem: str) -> None:
    good = {"date_unixtime": 1, "text": "x"}
    history = read_history(export({"name": "Ann", "messages": [good, entry, good]}))
    assert len(list(history)) == 2
    (missed,) = history.reading.not_understood
    assert missed.where == "chat 1 (Ann), message 2"
    assert re.search(problem, missed.problem)


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b'{"messages": [\n{"text": "x"', "line 2: broken JSON, cut short perhaps"),
        (b'{"messages": ["\xff"]}', "byte 15: not UTF-8"),
        (b"[" * 100_000, "not JSON that can be read"),
        (b"[1]", "top level: Input should be"),
        (b"{}", "neither messages nor chats"),
        (b'{"messages": 5}', "top level: messages: Input should be a valid list"),
        (b'{"chats": []}', "top level: chats"),
        (b'{"chats": {"list": [{"messages": {}}]}}', r"top level: chats\.list\.0\.messages"),
    ],
)
def test_a_bad_file_says_what_is_wrong(tmp_path: Path, raw: bytes, problem: str) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(raw)
    with pytest.raises(HistoryUnreadable, match=problem):
        next(read_history(path, HistoryFormat.TELEGRAM))


def test_an_account_without_messages_is_said_to_have_none(export: Export) -> None:
    with pytest.raises(HistoryUnreadable, match="there is no message in it"):
        next(read_history(export({"chats": {"list": [{"id": 1}]}})))


def one(export: Export, **fields: Any) -> InboundMessage:
    (message,) = read_history(export({"id": 7, "messages": [{"id": 1, "date_unixtime": 1, "from": "Ann", **fields}]}))
    return message


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"poll": {"question": "Tea?", "answers": [{"text": "Yes", "voters": 2}]}}, "Tea?\n- Yes (2)"),
        ({"contact_information": {"first_name": "Bob", "last_name": "", "phone_number": "+1000"}}, "Bob +1000"),
        ({"game_title": "2048", "game_link": "https://t.me/x"}, "2048\nhttps://t.me/x"),
        ({"dice": {"emoji": "🎲", "value": 3}}, "🎲 3"),
        ({"place_name": "Cafe", "address": "1 Road"}, "Cafe\n1 Road"),
        ({"text": "do", "todo_list": {"title": "x", "answers": [{"text": "a", "id": 1}]}}, "do\nx\n- a"),
        ({"text": "words", "forwarded_from": "A Channel"}, "[forwarded from A Channel]\nwords"),
        ({"text": [{"type": "text_link", "text": "docs", "href": "https://x.org"}, "!"]}, "docs (https://x.org)!"),
        ({"text": [{"type": "link", "text": "https://x.org"}]}, "https://x.org"),
    ],
)  # fmt: skip
def test_what_has_no_text_of_its_own_gets_one(export: Export, fields: dict[str, Any], expected: str) -> None:
    assert content(one(export, **fields)).text == expected


def test_messages_in_a_topic_have_it_as_their_thread(export: Export) -> None:
    def said(number: int, **fields: Any) -> dict[str, Any]:
        return {"id": number, "date_unixtime": number, "from": "Ann", "text": "x", **fields}

    topic = {"id": 1, "type": "service", "action": "topic_created", "date_unixtime": 1}
    found = list(
        read_history(
            export(
                {
                    "id": 7,
                    "messages": [
                        topic,
                        said(2, reply_to_message_id=1),
                        said(3, reply_to_message_id=2),
                        said(4),
                        said(5, reply_to_message_id=4),
                        said(6, reply_to_message_id=2, reply_to_peer_id="channel8"),
                    ],
                }
            )
        )
    )
    assert [(one.address.thread, content(one).reply_to) for one in found] == [
        ("1", None),
        ("1", "2"),
        (None, None),
        (None, "4"),
        (None, None),
    ]


def test_reactions_are_in_the_zone_of_their_message(export: Export) -> None:
    recent = [{"from": "Bo", "from_id": "user8", "date": "2024-03-09T15:30:00"}]
    reactions = [{"type": "emoji", "emoji": "👍", "recent": recent}]
    path = export({"messages": [{"date": "2024-03-09T14:30:00", "date_unixtime": 1709974800, "reactions": reactions}]})
    assert list(read_history(path))[1].sent_at == datetime(2024, 3, 9, 10, tzinfo=UTC)


def test_what_telegram_could_not_export_is_told(export: Export) -> None:
    history = read_history(export({"messages": [{"date_unixtime": 1, "text": "x"}, {"id": 2, "type": "unsupported"}]}))
    assert len(list(history)) == 1
    assert [missed.problem for missed in history.reading.not_understood] == [
        "Telegram Desktop could not export it (unsupported)"
    ]
