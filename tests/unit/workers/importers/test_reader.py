"""Opening a history: its format, what can't be read, and the values that every format makes fit."""

import os
import zipfile
from contextlib import suppress
from datetime import date
from pathlib import Path

import pytest

from agentbus.contracts.address import Platform
from agentbus.contracts.base import MAX_TEXT_LENGTH
from agentbus.contracts.messages import AttachmentKind, InboundMessage, TextContent
from agentbus.workers.importers import (
    History,
    HistoryFormat,
    HistoryUnreadable,
    detect_format,
    places,
    read_history,
    source,
)
from agentbus.workers.importers.places import Place
from agentbus.workers.importers.port import LISTED
from agentbus.workers.importers.source import Source
from agentbus.workers.importers.values import ContentIds, fit_id, fit_name, fit_text, kind_for

PROJECT = Path(__file__).parents[4]
SAMPLES = PROJECT / "tests" / "samples" / "histories"
SHARED = PROJECT.parent / "shared" / "data"

# What there is in each file, counted by hand: messages (with reactions and edits), and lines or entries skipped.
OWN = [
    (SAMPLES / "irc/2024-03-09_garden.txt", HistoryFormat.IRC, 5, 4),
    (SAMPLES / "irc/irssi.log", HistoryFormat.IRC, 4, 3),
    (SAMPLES / "telegram/result.json", HistoryFormat.TELEGRAM, 10, 1),
    (SAMPLES / "telegram", HistoryFormat.TELEGRAM, 10, 1),
    (SAMPLES / "telegram/one_chat.json", HistoryFormat.TELEGRAM, 3, 0),
    (SAMPLES / "slack", HistoryFormat.SLACK, 8, 1),
    (SAMPLES / "whatsapp/WhatsApp Chat with Garden Club.txt", HistoryFormat.WHATSAPP, 5, 4),
    (SAMPLES / "whatsapp/WhatsApp Chat - Ann Gray/_chat.txt", HistoryFormat.WHATSAPP, 3, 0),
    (SAMPLES / "whatsapp/us_12h.txt", HistoryFormat.WHATSAPP, 3, 0),
    (SAMPLES / "whatsapp/year_first.txt", HistoryFormat.WHATSAPP, 2, 0),
    (SAMPLES / "jsonl/messages.jsonl", HistoryFormat.JSONL, 2, 2),
]
OTHERS = [
    (SHARED / "irc/2005-06-27_12.txt", HistoryFormat.IRC, 1018, 232),
    (SHARED / "telegram/batch_export.json", HistoryFormat.TELEGRAM, 2, 0),
    (SHARED / "telegram/single_export.json", HistoryFormat.TELEGRAM, 2, 0),
    (SHARED / "whatsapp/ddmmyy_24hrs.txt", HistoryFormat.WHATSAPP, 7, 2),
    (SHARED / "whatsapp/mmddyyyy_12hrs.txt", HistoryFormat.WHATSAPP, 7, 2),
    (SHARED / "whatsapp/yyyymmdd_24hrs.txt", HistoryFormat.WHATSAPP, 7, 2),
]
FILES = OWN + [known for known in OTHERS if known[0].exists()]


@pytest.mark.parametrize(
    ("path", "format", "messages", "skipped"), FILES, ids=lambda value: getattr(value, "name", None)
)
def test_counts_of_every_sample(path: Path, format: HistoryFormat, messages: int, skipped: int) -> None:  # noqa: A002 - the word
    history = read_history(path)
    found = list(history)
    reading = history.reading
    assert (history.format, len(found), reading.lines - reading.lines_of_messages) == (format, messages, skipped)
    assert reading.lines == (
        reading.lines_of_messages + reading.lines_of_notices + reading.lines_blank + reading.lines_not_understood
    )
    assert (reading.messages + reading.amendments, reading.not_understood) == (messages, [])
    if format in {HistoryFormat.IRC, HistoryFormat.WHATSAPP, HistoryFormat.JSONL}:
        assert reading.lines == len(path.read_bytes().split(b"\n")) - path.read_bytes().endswith(b"\n")
    assert len({message.input_id() for message in found}) == messages
    assert [message.message_id for message in read_history(path, format)] == [one.message_id for one in found]
    if format is not HistoryFormat.JSONL:
        assert {message.address.platform for message in found} == {Platform(format)}
        assert {message.address.account for message in found} == {"default"}


def test_the_folder_and_the_file_of_a_telegram_export_give_the_same_messages() -> None:
    assert list(read_history(SAMPLES / "telegram")) == list(read_history(SAMPLES / "telegram/result.json"))


def test_other_whatsapp_exports_of_one_chat_say_the_same() -> None:
    files = [path for path, format_, _, _ in FILES if format_ is HistoryFormat.WHATSAPP and path.is_relative_to(SHARED)]
    told = {tuple((m.sent_at, m.sender_name, m.content) for m in read_history(path)) for path in files}
    assert len(told) == min(len(files), 1)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("format_", HistoryFormat)
def test_an_empty_file_has_no_messages(tmp_path: Path, content: bytes, format_: HistoryFormat) -> None:
    if format_ is HistoryFormat.SLACK:
        content = b""
    path = tmp_path / "history"
    path.write_bytes(content)
    assert list(read_history(path, format_, first_day=date(2024, 3, 9))) == []


@pytest.mark.parametrize(
    "content",
    ["hello there\n", "[1, 2, 3]", '{"some": "json"}', "PK\x03\x04 cut short", "09:19 no nick\n"],
)
def test_a_file_of_no_known_kind_says_what_to_try(tmp_path: Path, content: str) -> None:
    path = tmp_path / "history.txt"
    path.write_text(content)
    with pytest.raises(HistoryUnreadable, match=r"history\.txt: no telling .* --format") as caught:
        detect_format(path)
    assert caught.value.code == "history_unreadable"
    assert caught.value.details == {"path": str(path), "where": None}


def test_format_is_told_by_content_not_by_name(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text("[09:19] <ann> hello\n")
    assert detect_format(path) is HistoryFormat.IRC


def test_one_line_telegram_export_is_no_jsonl(tmp_path: Path) -> None:
    path = tmp_path / "export.txt"
    path.write_text('{"name":"Ann","messages":[{"date_unixtime":"1","text":"so \\"content\\": {","from":"Ann"}]}')
    assert detect_format(path) is HistoryFormat.TELEGRAM
    assert len(list(read_history(path))) == 1


def test_a_folder_without_an_export_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(HistoryUnreadable, match="a folder without a chat history in it"):
        read_history(tmp_path)


@pytest.mark.parametrize("format_", HistoryFormat)
def test_a_missing_file_is_unreadable(tmp_path: Path, format_: HistoryFormat) -> None:
    with pytest.raises(HistoryUnreadable, match="missing: No such file"):
        next(read_history(tmp_path / "missing", format_))


def test_an_empty_folder_is_unreadable_as_any_text(tmp_path: Path) -> None:
    with pytest.raises(HistoryUnreadable, match="a folder without a chat history in it"):
        next(read_history(tmp_path, HistoryFormat.WHATSAPP))


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_is_read_and_named_as_such(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "2024-03-09.log"
    text = "".join(f"[09:19] <ann> hellö 😀 \u2028 {number}\r\n" for number in range(3000))
    path.write_bytes(f"\ufeff{text}".encode(encoding))
    history = read_history(path)
    assert [text_of(one) for one in history] == [f"hellö 😀 \u2028 {number}" for number in range(3000)]
    assert history.reading.remarks == ["this is UTF-16: read as such"]


def test_json_in_utf_16_is_read(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_bytes((SAMPLES / "telegram/one_chat.json").read_text("utf-8").encode("utf-16"))
    assert len(list(read_history(path))) == 3


def test_a_text_in_a_zip_is_read(tmp_path: Path) -> None:
    path = tmp_path / "WhatsApp Chat - Ann.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(SAMPLES / "whatsapp/us_12h.txt", "_chat.txt")
        archive.writestr("photo.jpg", b"not read")
    history = read_history(path)
    assert history.format is HistoryFormat.WHATSAPP
    assert [message.address.chat for message in history] == ["Ann"] * 3


def zipped(path: Path, **members: str) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return path


def test_a_zip_without_a_history_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(HistoryUnreadable, match="a zip without a chat history in it"):
        detect_format(zipped(tmp_path / "photos.zip", **{"photo.jpg": "x"}))


def test_the_logs_in_a_zip_or_folder_are_read_in_their_order(tmp_path: Path) -> None:
    logs = {
        "net/#garden/2024-03-10.log": "[10:00] <ann> two\n",
        "net/#garden/2024-03-09.log": "[10:00] <ann> one\n",
        "net/#garden/notes.txt": "seeds, soil\n",
    }
    path = zipped(tmp_path / "logs.zip", **logs)
    folder = tmp_path / "logs"
    for name, text in logs.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for where in (path, folder):
        history = read_history(where)
        assert [(one.address.chat, one.sent_at.day, text_of(one)) for one in history] == [
            ("#garden", 9, "one"),
            ("#garden", 10, "two"),
        ]
        (missed,) = history.reading.not_understood
        assert missed.where == "net/#garden/notes.txt"
        assert "no telling what kind" in missed.problem


def test_what_was_shared_in_a_chat_is_not_taken_for_it(tmp_path: Path) -> None:
    line = "13/02/24, 10:00 - Ann: hi\n"
    for chat in ("_chat.txt", "WhatsApp Chat with Ann.txt"):
        path = zipped(
            tmp_path / "WhatsApp Chat with Ann.zip",
            **{"00-log.txt": "[10:00] <bob> psst\n", chat: line, "__MACOSX/._chat.txt": "x", ".hidden.txt": line},
        )
        assert [(one.address.chat, text_of(one)) for one in read_history(path)] == [("Ann", "hi")]


@pytest.mark.parametrize("name", ["result.json", "ChatExport_2024-01-01/result.json"])
def test_a_zipped_export_of_telegram_is_read(tmp_path: Path, name: str) -> None:
    path = zipped(tmp_path / "export.zip", **{name: (SAMPLES / "telegram/result.json").read_text()})
    assert list(read_history(path)) == list(read_history(SAMPLES / "telegram/result.json"))


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ('{"guild": {"id": "0"}, "channel": {"id": "1"}, "messages": []}', "a Discord export"),
        ('{\n "participants": [{"name": "Ann"}], "thread_path": "inbox/ann"}', "a Facebook or Instagram export"),
        ('[{"id": 1, "date_unixtime": "5", "text": "x"}]', "a list of Telegram messages"),
        ('[{"type": "message", "ts": "1709551234.001200"}]', "a day of a Slack export"),
        ("<!DOCTYPE html><html>", "a page of HTML"),
        ("[LINE] Chat history with Ann", "a chat of LINE"),
        ("SQLite format 3\0", "a SQLite database"),
    ],
)
def test_what_is_known_and_not_read_is_refused_by_name(tmp_path: Path, content: str, named: str) -> None:
    path = tmp_path / "history"
    path.write_text(content)
    with pytest.raises(HistoryUnreadable, match=f"history: this is {named}.*, which is not read: "):
        read_history(path)


@pytest.mark.parametrize(
    ("format_", "content", "problem"),
    [
        (HistoryFormat.IRC, "hello\nthere\n", "no message in it, and 2 lines or entries not understood: line 1: "),
        (HistoryFormat.WHATSAPP, "hello\n", "line 1: before the first message"),
        (HistoryFormat.JSONL, "{}\n", "line 1: address: Field required"),
        (HistoryFormat.TELEGRAM, '{"messages": []}', "there is no message in it"),
        (HistoryFormat.TELEGRAM, '{"messages": [5]}', r"chat 1 \(history\), message 1: Input should be"),
    ],
)
def test_no_message_in_what_is_not_empty_is_an_error(
    tmp_path: Path, format_: HistoryFormat, content: str, problem: str
) -> None:
    path = tmp_path / "history"
    path.write_text(content)
    history = read_history(path, format_)
    with pytest.raises(HistoryUnreadable, match=problem):
        list(history)


def test_notices_alone_are_no_error(tmp_path: Path) -> None:
    path = tmp_path / "#garden_20240309.log"
    path.write_text("[10:00] *** Joins: ann (~a@host)\n\n[10:01] -feed- something new\n")
    history = read_history(path)
    assert list(history) == []
    assert (history.format, history.reading.notices, history.reading.lines_blank) == (HistoryFormat.IRC, 2, 1)


def test_only_the_first_of_what_is_not_understood_is_listed(tmp_path: Path) -> None:
    path = tmp_path / "2024-03-09.log"
    path.write_text("[10:00] <ann> hi\n" + "what\n" * (LISTED + 5))
    history = read_history(path)
    assert len(list(history)) == 1
    assert (len(history.reading.not_understood), history.reading.lines_not_understood) == (LISTED, LISTED + 5)


def test_a_bomb_in_a_zip_is_refused_and_nothing_is_unpacked(tmp_path: Path) -> None:
    path = zipped(tmp_path / "bomb.zip", **{"chat.txt": "[10:00] <ann> hi\n" + "\n" * (17 * 1024 * 1024)})
    with pytest.raises(HistoryUnreadable, match=r"chat\.txt: 1\d{7} bytes out of \d+: no chat, but a zip bomb"):
        list(read_history(path))


def test_a_member_or_file_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("MAX_JSON_BYTES", "MAX_MEMBER_JSON_BYTES"):
        monkeypatch.setattr(places, limit, 20)
    text = (SAMPLES / "telegram/one_chat.json").read_text()
    (tmp_path / "one_chat.json").write_text(text)
    for path in (tmp_path / "one_chat.json", zipped(tmp_path / "export.zip", **{"result.json": text})):
        with pytest.raises(HistoryUnreadable, match="more than 20 bytes"):
            list(read_history(path))


def test_links_and_ways_out_are_not_followed(tmp_path: Path) -> None:
    line, secret = "[10:00] <ann> hi\n", tmp_path / "2024-03-09.log"
    secret.write_text(line)
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "2024-03-10.log").symlink_to(secret)
    (folder / "round").symlink_to(folder)
    with pytest.raises(HistoryUnreadable, match="a folder without"):
        read_history(folder)
    path = tmp_path / "logs.zip"
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo("link.log")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, str(secret))
        archive.writestr("../2024-03-09.log", line)
        archive.writestr("/2024-03-09.log", line)
    with pytest.raises(HistoryUnreadable, match="a zip without"):
        read_history(path)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for format_ in HistoryFormat:
        with pytest.raises(HistoryUnreadable, match="neither a file nor a folder"):
            list(read_history(tmp_path / "pipe", format_))


@pytest.mark.parametrize("format_", [HistoryFormat.IRC, HistoryFormat.WHATSAPP, HistoryFormat.JSONL])
def test_of_a_line_without_an_end_the_beginning_is_read(
    tmp_path: Path, format_: HistoryFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "MAX_LINE_BYTES", 100)
    path = tmp_path / "2024-03-09.log"
    path.write_text("[10:00] <ann> " + "x" * 1000 + "\n13/02/24, 10:00 - Ann: hi\n")
    assert [len(line) for _, line in Source(Place(path)).raw_lines()] == [100, 25]
    with suppress(HistoryUnreadable):
        list(read_history(path, format_))


def text_of(message: InboundMessage) -> str:
    assert isinstance(message.content, TextContent)
    return message.content.text


@pytest.mark.parametrize(
    ("format_", "rendered"),
    [
        (HistoryFormat.IRC, "[10:00] <ann> short\n[10:00] <ann> {}\n"),
        (HistoryFormat.WHATSAPP, "01/02/24, 10:00 - ann: short\n01/02/24, 10:00 - ann: {}\n"),
    ],
)
def test_a_text_that_is_too_long_names_its_line(tmp_path: Path, format_: HistoryFormat, rendered: str) -> None:
    path = tmp_path / "2024-02-01.txt"
    path.write_text(rendered.format("x" * (MAX_TEXT_LENGTH + 1)))
    history = read_history(path, format_)
    assert [one.content for one in history] == [TextContent(text="short")]
    (missed,) = history.reading.not_understood
    assert missed.where == "line 2"
    assert missed.problem.startswith("text: String should have at most 262144")


def test_closing_ends_the_reading() -> None:
    history: History = read_history(SAMPLES / "irc/2024-03-09_garden.txt")
    next(history)
    history.close()
    assert list(history) == []


def test_account_and_chat_can_be_given() -> None:
    for name in ("irc/irssi.log", "telegram/one_chat.json", "whatsapp/us_12h.txt"):
        first = next(read_history(SAMPLES / name, account="import", chat="the chat"))
        assert (first.address.account, first.address.chat) == ("import", "the chat")


def test_what_can_be_an_id_stays_as_it_is() -> None:
    assert fit_id("Zoë 🤓") == "Zoë 🤓"
    assert fit_id("x" * 255) == "x" * 255


def test_what_can_not_be_an_id_is_made_one_and_no_two_meet() -> None:
    unfit = ["", "\n", "\t", "\ud800", "\udfff", "x" * 256, "x" * 257, "a\x00b", "a\x01b"]
    fitted = [fit_id(text) for text in unfit]
    assert len(set(fitted)) == len(unfit)
    assert fitted == [fit_id(text) for text in unfit]
    assert all(1 <= len(text) <= 255 and text.isprintable() for text in fitted)


def test_names_and_texts_are_made_to_fit() -> None:
    assert fit_name(None) is fit_name("") is None
    assert fit_name("n" * 300) == "n" * 254 + "…"
    assert fit_text("a\ud83db") == "a\ufffdb"


def test_ids_are_those_of_what_is_said_and_the_how_manieth_it_is() -> None:
    first, second = ContentIds(), ContentIds()
    one, again, other = (first.next(text) for text in ("hi", "hi", "ho"))
    assert len({one, again, other}) == 3
    assert [second.next(text) for text in ("ho", "hi", "hi")] == [other, one, again]


@pytest.mark.parametrize(
    ("media_type", "kind"),
    [
        ("image/png", AttachmentKind.IMAGE),
        ("audio/ogg", AttachmentKind.AUDIO),
        ("video/mp4", AttachmentKind.VIDEO),
        ("text/plain", AttachmentKind.FILE),
        (None, AttachmentKind.FILE),
    ],
)
def test_kinds_of_attachments(media_type: str | None, kind: AttachmentKind) -> None:
    assert kind_for(media_type) is kind
