"""Opening a history: its format, what can't be read, and the values that every format makes fit."""

import zipfile
from datetime import date
from pathlib import Path

import pytest

from agentbus.contracts.address import Platform
from agentbus.contracts.base import MAX_TEXT_LENGTH
from agentbus.contracts.messages import AttachmentKind, TextContent
from agentbus.workers.importers import History, HistoryFormat, HistoryUnreadable, detect_format, read_history
from agentbus.workers.importers.values import fit_id, fit_name, fit_text, kind_for, position_id

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
    (SAMPLES / "jsonl/messages.jsonl", HistoryFormat.JSONL, 2, 1),
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
    assert (history.format, len(found), history.skipped) == (format, messages, skipped)
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
    with pytest.raises(HistoryUnreadable, match="folder without"):
        read_history(tmp_path)


@pytest.mark.parametrize("format_", HistoryFormat)
def test_a_missing_file_is_unreadable(tmp_path: Path, format_: HistoryFormat) -> None:
    with pytest.raises(HistoryUnreadable, match="missing: No such file"):
        next(read_history(tmp_path / "missing", format_))


def test_a_folder_read_as_a_text_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(HistoryUnreadable, match="Is a directory"):
        next(read_history(tmp_path, HistoryFormat.WHATSAPP))


@pytest.mark.parametrize("format_", [HistoryFormat.IRC, HistoryFormat.WHATSAPP, HistoryFormat.JSONL])
def test_utf_16_is_named_as_such(tmp_path: Path, format_: HistoryFormat) -> None:
    path = tmp_path / "log.txt"
    path.write_text("[09:19] <ann> hello\n", encoding="utf-16")
    with pytest.raises(HistoryUnreadable, match="line 1: this is UTF-16"):
        next(read_history(path, format_))


def test_a_text_in_a_zip_is_read(tmp_path: Path) -> None:
    path = tmp_path / "WhatsApp Chat - Ann.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(SAMPLES / "whatsapp/us_12h.txt", "_chat.txt")
        archive.writestr("photo.jpg", b"not read")
    history = read_history(path)
    assert history.format is HistoryFormat.WHATSAPP
    assert [message.address.chat for message in history] == ["Ann"] * 3


def test_a_zip_with_several_texts_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "two.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "")
        archive.writestr("b.txt", "")
    with pytest.raises(HistoryUnreadable, match="a zip with 2 texts"):
        detect_format(path)


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
    assert next(history).content == TextContent(text="short")
    with pytest.raises(HistoryUnreadable, match=r"line 2: text: String should have at most 262144"):
        next(history)


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


def test_position_ids_tell_files_of_one_name_apart() -> None:
    assert position_id("27", "1", "2005-06-27", "hi") != position_id("27", "1", "2005-07-27", "hi")


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
