"""WhatsApp's text exports."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from agentbus.contracts.messages import Attachment, AttachmentKind, InboundMessage, TextContent
from agentbus.workers.importers import HistoryFormat, read_history
from agentbus.workers.importers.port import NOT_EXPORTED
from agentbus.workers.importers.whatsapp_dates import WrittenDate, is_day_first, to_date

SAMPLES = Path(__file__).parents[3] / "samples" / "histories" / "whatsapp"

Chat = Callable[[str], Path]


@pytest.fixture
def chat(tmp_path: Path) -> Chat:
    def write(text: str) -> Path:
        path = tmp_path / "chat.txt"
        path.write_text(text)
        return path

    return write


def content(message: InboundMessage) -> TextContent:
    assert isinstance(message.content, TextContent)
    return message.content


def test_the_android_sample() -> None:
    messages = list(read_history(SAMPLES / "WhatsApp Chat with Garden Club.txt"))
    assert [(m.sender_name, m.sent_at, content(m).text) for m in messages] == [
        ("Ann", datetime(2024, 3, 10, 9, 5, tzinfo=UTC), "Hello"),
        (
            'Bo "The Builder" Day',
            datetime(2024, 3, 13, 9, 6, tzinfo=UTC),
            "first line\n\nthird line: with a colon",
        ),
        ("Ann", datetime(2024, 3, 14, 9, 7, tzinfo=UTC), "."),
        ("Ann", datetime(2024, 3, 14, 9, 9, tzinfo=UTC), ""),
        ("Ann", datetime(2024, 3, 14, 9, 10, tzinfo=UTC), "The roses"),
    ]
    assert {m.address.chat for m in messages} == {"Garden Club"}
    assert [m.address.user for m in messages] == [m.sender_name for m in messages]
    assert content(messages[3]).attachments == (Attachment(uri=NOT_EXPORTED),)
    assert content(messages[4]).attachments == (
        Attachment(kind=AttachmentKind.IMAGE, uri="IMG-0001.jpg", name="IMG-0001.jpg"),
    )


def test_the_ios_sample() -> None:
    messages = list(read_history(SAMPLES / "WhatsApp Chat - Ann Gray" / "_chat.txt"))
    assert [(m.sender_name, m.sent_at.day, content(m).text) for m in messages] == [
        ("Ann Gray", 9, "Hello"),
        ("Bo", 13, ""),
        ("Ann Gray", 13, "look\nat that"),
    ]
    assert {m.address.chat for m in messages} == {"Ann Gray"}
    kinds = [[a.kind for a in content(m).attachments] for m in messages]
    assert kinds == [[], [AttachmentKind.IMAGE], [AttachmentKind.VIDEO]]


def test_the_sample_with_twelve_hours() -> None:
    messages = list(read_history(SAMPLES / "us_12h.txt"))
    assert [m.sent_at for m in messages] == [
        datetime(2024, 3, 9, 21, 15, tzinfo=UTC),
        datetime(2024, 3, 10, 0, 5, tzinfo=UTC),
        datetime(2024, 3, 30, 12, 5, tzinfo=UTC),
    ]


@pytest.mark.parametrize(
    ("rest", "name", "text"),
    [
        ("Ann: hi", "Ann", "hi"),
        ("Ann:.", "Ann", "."),
        ("Ann:", "Ann", ""),
        ("Ann: ", "Ann", ""),
        ("Ann: Bo: hi", "Ann", "Bo: hi"),
        ("+12 345 578: 10:30", "+12 345 578", "10:30"),
        ("\u202a+12 345 578\u202c: hi", "+12 345 578", "hi"),
        ("~\u202fAnn: hi", "~\u202fAnn", "hi"),
        ("Ann: \u200eThis message was deleted", "Ann", "This message was deleted"),
        ("Ann: image omitted", "Ann", "image omitted"),
        ("Ann: 01/02/24, 10:00", "Ann", "01/02/24, 10:00"),
    ],
)
def test_who_says_what(chat: Chat, rest: str, name: str, text: str) -> None:
    (message,) = read_history(chat(f"13/02/24, 10:00 - {rest}\n"))
    assert (message.sender_name, content(message).text) == (name, text)


@pytest.mark.parametrize(
    "rest",
    [
        "You were added",
        '+12 345 578 created group "Groupname"',
        'Ann changed the subject to "a: b"',
        "Ann changed the subject to “a: b”",
        "Missed voice call at 9:11",
        "Ann shared https://example.org/",
        ": nameless",
        "",
    ],
)
def test_notices_are_no_messages(chat: Chat, rest: str) -> None:
    history = read_history(chat(f"13/02/24, 10:00 - {rest}\nand its second line\n"))
    assert (list(history), history.skipped) == ([], 2)


@pytest.mark.parametrize(
    ("text", "kind", "uri", "rest"),
    [
        ("<Media omitted>", AttachmentKind.FILE, NOT_EXPORTED, ""),
        ("\u200eaudio omitted", AttachmentKind.AUDIO, NOT_EXPORTED, ""),
        ("\u200eGIF omitted", AttachmentKind.VIDEO, NOT_EXPORTED, ""),
        ("\u200edocument omitted", AttachmentKind.FILE, NOT_EXPORTED, ""),
        ("\u200ePTT-1.opus (file attached)", AttachmentKind.AUDIO, "PTT-1.opus", ""),
        ("\u200e<attached: 1-STICKER.webp>", AttachmentKind.STICKER, "1-STICKER.webp", ""),
        ("plan of beds.pdf (file attached)\nsee page 2", AttachmentKind.FILE, "plan of beds.pdf", "see page 2"),
    ],
)
def test_what_stands_for_a_file(chat: Chat, text: str, kind: AttachmentKind, uri: str, rest: str) -> None:
    (message,) = read_history(chat(f"13/02/24, 10:00 - Ann: {text}\n"))
    (attachment,) = content(message).attachments
    assert (attachment.kind, attachment.uri, content(message).text) == (kind, uri, rest)


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        ("13/02/24, 09:05 - ", "2024-02-13 09:05:00"),
        ("13/02/2024 09:05 - ", "2024-02-13 09:05:00"),
        ("13.02.24, 09:05 - ", "2024-02-13 09:05:00"),
        ("2/13/24, 9:05 AM - ", "2024-02-13 09:05:00"),
        ("2/13/24, 9:05\u202fPM - ", "2024-02-13 21:05:00"),
        ("02/13/2024, 12:05 a. m. - ", "2024-02-13 00:05:00"),
        ("02/13/2024, 00:05 a.\xa0m. - ", "2024-02-13 00:05:00"),
        ("02/13/2024, 13:05 p. m. - ", "2024-02-13 13:05:00"),
        ("2024/02/13, 09:05 \u2013 ", "2024-02-13 09:05:00"),
        ("2024-02-13, 09.05 - ", "2024-02-13 09:05:00"),
        ("[13/02/24, 09:05:59] ", "2024-02-13 09:05:59"),
        ("\u200e[2/13/24, 9:05:59 PM] ", "2024-02-13 21:05:59"),
    ],
)
def test_the_ways_to_write_a_moment(chat: Chat, stamp: str, expected: str) -> None:
    (message,) = read_history(chat(f"{stamp}Ann: hi\n"))
    assert f"{message.sent_at:%Y-%m-%d %H:%M:%S}" == expected


def test_a_moment_that_does_not_exist_continues_the_message(chat: Chat) -> None:
    text = "13/02/24, 10:00 - Ann: hi\n31/02/24, 10:00 - Bo: x\n14/02/24, 25:00 - Bo: y\n"
    (message,) = read_history(chat(text))
    assert content(message).text == "hi\n31/02/24, 10:00 - Bo: x\n14/02/24, 25:00 - Bo: y"


def test_lines_before_the_first_message_are_counted(chat: Chat) -> None:
    history = read_history(chat("a title\n\n13/02/24, 10:00 - Ann: hi\n"))
    assert (len(list(history)), history.skipped) == (1, 2)


def written(*dates: str) -> list[WrittenDate]:
    return [WrittenDate(*text.split("/")) for text in dates]


@pytest.mark.parametrize(
    ("dates", "given", "expected"),
    [
        (["13/01/24"], False, True),
        (["01/13/24"], True, False),
        (["01/13/24", "13/01/24", "14/01/24"], None, True),
        (["01/02/24", "03/01/24"], None, False),
        (["01/02/24", "01/03/24", "02/01/25"], None, True),
        (["01/02/24", "02/01/24"], None, False),
        (["01/02/24", "02/01/24"], True, True),
        (["01/02/24"], None, True),
        (["01/02/24"], False, False),
        (["2024/13/01"], False, False),
        ([], None, True),
    ],
)
def test_which_of_day_and_month_comes_first(dates: list[str], given: bool | None, expected: bool) -> None:
    assert is_day_first(written(*dates), given) is expected


def test_dates_as_written() -> None:
    assert to_date(WrittenDate("1", "2", "24"), day_first=True) == date(2024, 2, 1)
    assert to_date(WrittenDate("1", "2", "1999"), day_first=False) == date(1999, 1, 2)
    assert to_date(WrittenDate("2024", "2", "30"), day_first=True) is None
    assert to_date(WrittenDate("0", "2", "24"), day_first=True) is None


def test_the_order_given_decides_where_the_file_does_not(chat: Chat) -> None:
    path = chat("01/02/24, 10:00 - Ann: hi\n")
    assert [next(read_history(path, day_first=given)).sent_at.month for given in (True, False)] == [2, 1]


def test_times_are_in_the_zone_given(chat: Chat) -> None:
    (message,) = read_history(chat("13/07/24, 10:00 - Ann: hi\n"), zone=ZoneInfo("Europe/Berlin"))
    assert message.sent_at == datetime(2024, 7, 13, 8, tzinfo=UTC)


def test_a_later_export_repeats_the_ids(tmp_path: Path) -> None:
    first, later = tmp_path / "WhatsApp Chat with Ann.txt", tmp_path / "WhatsApp Chat with Ann (1).txt"
    first.write_text("13/02/24, 10:00 - Ann: hi\n13/02/24, 10:00 - Ann: hi\n")
    later.write_text(first.read_text() + "14/02/24, 10:00 - Ann: new\n")
    known = [message.key for message in read_history(first)]
    assert [message.key for message in read_history(later)][:2] == known
    assert len(set(known)) == 2


def test_broken_bytes_and_very_long_names_are_read(tmp_path: Path) -> None:
    path = tmp_path / "chat.txt"
    path.write_bytes(b"13/02/24, 10:00 - " + b"n" * 300 + b": caf\xe9\r\nsecond\r\n")
    (message,) = read_history(path)
    assert content(message).text == "caf\ufffd\nsecond"
    assert message.sender_name == "n" * 254 + "…"
    assert len(message.address.user) == 255


def test_a_long_text_of_blanks_is_read_in_no_time(chat: Chat) -> None:
    text = " " * 200_000 + "<attached: "
    (message,) = read_history(chat(f"13/02/24, 10:00 - Ann: x{text}\n"), HistoryFormat.WHATSAPP)
    assert content(message).text == "x" + text


def test_an_export_of_the_latest_messages_and_one_after_a_deletion_repeat_the_ids(chat: Chat) -> None:
    lines = [f"13/01/2024, 10:{minute:02d} - Ann: {text}" for minute, text in enumerate(("a", "b", "ok", "c", "d"))]
    lines.insert(3, lines[2])  # said twice within a minute
    whole = [message.message_id for message in read_history(chat("\n".join(lines)))]
    assert len(set(whole)) == len(lines)
    assert [message.message_id for message in read_history(chat("\n".join(lines[2:])))] == whole[2:]
    without = [*lines[:1], *lines[2:]]
    assert [message.message_id for message in read_history(chat("\n".join(without)))] == [whole[0], *whole[2:]]
