"""WhatsApp's text exports."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from agentbus.contracts.messages import (
    Attachment,
    AttachmentKind,
    DeleteContent,
    EditContent,
    InboundMessage,
    TextContent,
)
from agentbus.workers.importers import HistoryFormat, HistoryUnreadable, read_history
from agentbus.workers.importers.port import NOT_EXPORTED
from agentbus.workers.importers.whatsapp_dates import WrittenDate, convention_of, to_date

SAMPLES = Path(__file__).parents[3] / "samples" / "histories" / "whatsapp"

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)

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
        (
            "Ann: \u200ea marked text of a language that is not known",
            "Ann",
            "a marked text of a language that is not known",
        ),
        ('Ann "the rose" Lee: hi', 'Ann "the rose" Lee', "hi"),
        ("Ann „die Rose“ Lee: hi", "Ann „die Rose“ Lee", "hi"),
        ("Ann «rose» Lee: hi", "Ann «rose» Lee", "hi"),
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
        "Messages and calls are end-to-end encrypted: no one outside of this chat can read them.",
        "Oma Helga hat die Gruppe „Fest: Oktober“ erstellt.",
        "Nonna Pia ha creato il gruppo «Ferragosto: mare»",
        "小明建立了「晚餐: 週五」群組",
        "הודעות ושיחות מוצפנות מקצה לקצה: אף אחד לא יכול לקרוא אותן.",
        "Garden Club: \u200eMessages and calls are end-to-end encrypted.",
        "Ann Lee: \u200eAnn Lee created group “Garden: Club”",
        "~\u202fDora: \u200eBob Moss added ~\u202fDora",
        "You: \u200eYou changed the group name to “Garden: Club”",
        "Ann: \u200eMissed voice call, \u200eTap to call back",
        "阿嬤: \u200e未接語音通話",
        "지민: \u200e지민님이 나갔습니다",
    ],
)
def test_notices_are_no_messages(chat: Chat, rest: str) -> None:
    history = read_history(chat(f"13/02/24, 10:00 - {rest}\nand its second line\n"))
    assert list(history) == []
    assert (history.reading.notices, history.reading.lines_of_notices) == (1, 2)


def test_under_a_name_that_never_writes_are_notices_in_any_language(chat: Chat) -> None:
    lines = (
        "Vrtni klub: \u200eAna je dodala Boru",
        "Bor: \u200enepoznato",
        "Bor: bok",
        "Iva: \u200eimage omitted",
        "Vid: \u200eThis message was deleted.",
        "Mia: \u200eLokacija: https://maps.google.com/?q=1,2",
    )
    history = read_history(chat("".join(f"[13/02/24, 10:00:00] {line}\n" for line in lines)))
    assert {message.sender_name for message in history} == {"Bor", "Iva", "Vid", "Mia"}
    assert (history.reading.notices, history.reading.messages) == (1, 5)


def test_nobody_has_the_name_of_the_group(chat: Chat) -> None:
    lines = (
        "Garden Club: \u200eMessages and calls are end-to-end encrypted.",
        "Garden Club: \u200eAnn tilføjede dig",
        "Ann: hej",
    )
    history = read_history(chat("".join(f"[13/02/24, 10:00:00] {line}\n" for line in lines)))
    assert [message.sender_name for message in history] == ["Ann"]
    assert history.reading.notices == 2


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
        ("<Media omitted>\na caption", AttachmentKind.FILE, NOT_EXPORTED, "a caption"),
        ("<تم استبعاد الوسائط>", AttachmentKind.FILE, NOT_EXPORTED, ""),
        ("<Medien ausgeschlossen>", AttachmentKind.FILE, NOT_EXPORTED, ""),
        ("a caption \u200eimage omitted", AttachmentKind.IMAGE, NOT_EXPORTED, "a caption"),
        ("\u200eContact card omitted", AttachmentKind.FILE, NOT_EXPORTED, ""),
        ("\u200e圖片已省略", AttachmentKind.IMAGE, NOT_EXPORTED, ""),
        ("\u200e이미지 생략됨", AttachmentKind.IMAGE, NOT_EXPORTED, ""),
        ("\u200eהמדיה הושמטה", AttachmentKind.FILE, NOT_EXPORTED, ""),  # noqa: RUF001 - Hebrew
        ("a caption \u200e<attached: 1-PHOTO.jpg>", AttachmentKind.IMAGE, "1-PHOTO.jpg", "a caption"),
        ("\u200e<مرفق: 1-PHOTO.jpg>", AttachmentKind.IMAGE, "1-PHOTO.jpg", ""),
        ("IMG-20240213-WA0001.jpg (ukendt sprog)\nbelow", AttachmentKind.IMAGE, "IMG-20240213-WA0001.jpg", "below"),
        ("Ann Lee.vcf (Datei angehängt)", AttachmentKind.FILE, "Ann Lee.vcf", ""),
    ],
)
def test_what_stands_for_a_file(chat: Chat, text: str, kind: AttachmentKind, uri: str, rest: str) -> None:
    (message,) = read_history(chat(f"13/02/24, 10:00 - Ann: {text}\n"))
    (attachment,) = content(message).attachments
    assert (attachment.kind, attachment.uri, content(message).text) == (kind, uri, rest)


def test_a_document_that_was_left_out_keeps_its_name(chat: Chat) -> None:
    (message,) = read_history(chat("13/02/24, 10:00 - Ann: report.pdf • \u200e3 pages \u200edocument omitted\n"))
    assert content(message) == TextContent(attachments=(Attachment(uri=NOT_EXPORTED, name="report.pdf"),))


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("30k \u200e<This message was edited>", "30k"),
        ("Texto real <Se editó este mensaje.>", "Texto real"),
        ("tekst \u200e<Denne besked er redigeret>", "tekst"),
    ],
)
def test_an_edited_message_is_followed_by_an_edit(chat: Chat, text: str, rest: str) -> None:
    said, edit = read_history(chat(f"13/02/24, 10:00 - Ann: {text}\n"))
    assert content(said).text == rest
    assert edit.content == EditContent(target=said.message_id, target_user="Ann", text=rest)
    assert edit.sent_at == said.sent_at
    assert edit.message_id != said.message_id


@pytest.mark.parametrize(
    "text",
    ["You deleted this message", "Se eliminó este mensaje.", "\u200eThis message was deleted.", "此訊息已刪除"],
)
def test_a_deleted_message_is_followed_by_its_deletion(chat: Chat, text: str) -> None:
    history = read_history(chat(f"13/02/24, 10:00 - Ann: {text}\n"))
    said, deletion = history
    assert content(said) == TextContent()
    assert deletion.content == DeleteContent(target=said.message_id, target_user="Ann")
    assert (history.reading.messages, history.reading.amendments, history.reading.lines) == (1, 1, 1)


@pytest.mark.parametrize("text", ["a <b>bold</b>", "a <tag>", "x \u200e<a: b>", "1 < 2 > 1", "<kept>"])
def test_angle_brackets_are_text(chat: Chat, text: str) -> None:
    (message,) = read_history(chat(f"13/02/24, 10:00 - Ann: {text}\n"))
    assert content(message).text == text


def test_lines_in_another_form_were_pasted(chat: Chat) -> None:
    pasted = "[9/6/2024, 14:41] Bo: on Tuesday\n13.02.24, 10:00 - Bo: at seven\n13/02/24, 10:00:05 - Bo: or so"
    history = read_history(chat(f"13/02/24, 10:00 - Ann: look:\n{pasted}\n14/02/24, 10:00 - Ann: odd\n"))
    assert [content(message).text for message in history] == [f"look:\n{pasted}", "odd"]
    assert history.reading.lines == history.reading.lines_of_messages == 5


def test_years_of_the_buddhist_calendar(chat: Chat) -> None:
    for year in ("2567", "67"):
        history = read_history(chat(f"13/6/{year} 21:00 - Ann: hi\n"), now=NOW)
        assert [message.sent_at.date() for message in history] == [date(2024, 6, 13)]
        assert "543" in history.reading.remarks[0]


def test_years_of_another_calendar_are_refused(chat: Chat) -> None:
    with pytest.raises(HistoryUnreadable, match=r"its years \(1402\) are of a calendar that is not known"):
        next(read_history(chat("1402/10/24, 10:00 - Ann: hi\n")))


def test_what_was_guessed_about_dates_is_said(chat: Chat) -> None:
    undecided, told = chat("12/9/20, 23:55 - Ann: hi\n"), "13/9/20, 23:55 - Ann: hi\n"
    history = read_history(undecided)
    assert next(history).sent_at.month == 9
    assert history.reading.remarks == [
        "no date tells which order it is: read as the day before the month; --month-first says otherwise"
    ]
    for given in (True, False):
        history = read_history(undecided, day_first=given)
        assert (next(history).sent_at.month, history.reading.remarks) == (9 if given else 12, [])
    history = read_history(chat(told))
    assert (next(history).sent_at.month, history.reading.remarks) == (9, [])


def test_times_that_are_still_to_come_in_utc_are_of_a_zone_to_the_east(chat: Chat) -> None:
    path = chat("26/11/2026, 17:05 - Ann: x\n26/11/2026, 18:04 - Ann: y\n")
    asked = datetime(2026, 11, 26, 12, 35, tzinfo=UTC)
    history = read_history(path, now=asked)
    assert [message.sent_at for message in history][-1] == datetime(2026, 11, 26, 12, 34, tzinfo=UTC)
    assert history.reading.remarks == [
        "its last times are still to come in UTC: read as UTC+05:30; --zone says otherwise"
    ]
    assert next(read_history(path, now=asked, zone=UTC)).sent_at.hour == 17
    assert next(read_history(path, now=asked + timedelta(days=1))).sent_at.hour == 17
    assert next(read_history(path, now=asked - timedelta(days=10))).sent_at.hour == 17


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
        ("13/2/2024، 09:05 - ", "2024-02-13 09:05:00"),
        ("\u200f[١٣/٠٢/٢٠٢٤، ٢٠:٤٥:١٢] ", "2024-02-13 20:45:12"),
        ("\u200f[١٣/٠٢/٢٠٢٤، ٨:٤٦:٠٠ م] ", "2024-02-13 20:46:00"),  # noqa: RUF001 - Arabic
        ("\u200f[13/02/2024, 9:12:05 ص] ", "2024-02-13 09:12:05"),
        ("13\u200f/2\u200f/2024، 9:05 م - ", "2024-02-13 21:05:00"),
        ('[13.2.2024, 8:46:00 אחה"צ] ', "2024-02-13 20:46:00"),
        ("[13.2.2024, 8:46:00 לפנה״צ] ", "2024-02-13 08:46:00"),
        ("13/02/24, 8:46 अपराह्न - ", "2024-02-13 20:46:00"),
        ("2024년 2월 13일 오후 9:25, ", "2024-02-13 21:25:00"),
        ("[2024. 2. 13. 오전 12:01:11] ", "2024-02-13 00:01:11"),
        ("2024/2/13 下午9:25 - ", "2024-02-13 21:25:00"),
        ("[2024/2/13 上午9:30:44] ", "2024-02-13 09:30:44"),
        ("2024年2月13日 下午9:25 - ", "2024-02-13 21:25:00"),
        ("2024/02/13 午前0:26 - ", "2024-02-13 00:26:00"),
        ("13.2.2024 klo 21.25 - ", "2024-02-13 21:25:00"),
        ("2024. 02. 13. 21:25 - ", "2024-02-13 21:25:00"),
        ("13.02.24 г., 21:25 - ", "2024-02-13 21:25:00"),  # noqa: RUF001 - Cyrillic
        ("13/02/2024 à 21:25 - ", "2024-02-13 21:25:00"),
        ("13/02/2024 21 h 25 - ", "2024-02-13 21:25:00"),
        ("[2024-02-13, 09:42] - ", "2024-02-13 09:42:00"),
        ("13.02.24 21.25.15: ", "2024-02-13 21:25:15"),
    ],
)
def test_the_ways_to_write_a_moment(chat: Chat, stamp: str, expected: str) -> None:
    (message,) = read_history(chat(f"{stamp}Ann: hi\n"))
    assert f"{message.sent_at:%Y-%m-%d %H:%M:%S}" == expected


def test_a_moment_that_does_not_exist_continues_the_message(chat: Chat) -> None:
    text = "13/02/24, 10:00 - Ann: hi\n31/02/24, 10:00 - Bo: x\n14/02/24, 25:00 - Bo: y\n"
    (message,) = read_history(chat(text))
    assert content(message).text == "hi\n31/02/24, 10:00 - Bo: x\n14/02/24, 25:00 - Bo: y"


def test_lines_before_the_first_message_are_told(chat: Chat) -> None:
    history = read_history(chat("a title\n\n13/02/24, 10:00 - Ann: hi\n"))
    assert len(list(history)) == 1
    assert (history.reading.lines_blank, [missed.where for missed in history.reading.not_understood]) == (1, ["line 1"])


def test_an_order_in_which_less_is_still_to_come_goes_before_all_but_what_is_impossible() -> None:
    dates = written("1/11/26", "2/11/26", "11/1/26")
    assert not convention_of(dates, None, date(2026, 10, 31)).day_first
    assert convention_of([*dates, *written("13/11/26")], None, date(2026, 10, 31)).day_first


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
        (["1/2/24", "1/3/24", "1/7/24"], None, False),
        (["10/9/26", "10/10/26", "10/12/26"], None, False),
        (["12/9/20", "12/9/20"], None, True),
        (["10/12/26"], None, False),
    ],
)
def test_which_of_day_and_month_comes_first(dates: list[str], given: bool | None, expected: bool) -> None:
    assert convention_of(written(*dates), given, NOW.date()).day_first is expected


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


@pytest.mark.parametrize(
    "line",
    [
        "1" * 200_000,
        "[" * 200_000,
        "1/1/24, " + " " * 200_000,
        "13/02/24, 10:00 - " + "„" * 200_000 + ": hi",
        "13/02/24, 10:00 - Ann: " + "\u200e<" * 60_000 + ">",
        "13/02/24, 10:00 - Ann: " + "<attached: " * 20_000,
        "13/02/24, 10:00 - Ann: " + "a." * 100_000 + " (file attached)",
        "13/02/24, 10:00 - " + ":" * 200_000,
    ],
    ids=range(8),
)
def test_a_hostile_line_is_read_in_no_time(chat: Chat, line: str) -> None:
    history = read_history(chat(f"13/02/24, 10:00 - Ann: hi\n{line}\n13/02/24, 10:00 - Ann: bye\n"))
    assert [content(message).text.startswith(("hi", "bye")) for message in history].count(True) >= 2
    assert history.reading.lines == 3


def test_a_message_without_an_end_takes_no_memory_without_end(chat: Chat) -> None:
    lines = "\n".join(["x" * 100_000] * 30)
    history = read_history(chat(f"13/02/24, 10:00 - Ann: {lines}\n14/02/24, 10:00 - Ann: bye\n"))
    assert [content(message).text for message in history] == ["bye"]
    (missed,) = history.reading.not_understood
    assert (missed.where, missed.lines) == ("line 1", 30)


def test_an_export_of_the_latest_messages_and_one_after_a_deletion_repeat_the_ids(chat: Chat) -> None:
    lines = [f"13/01/2024, 10:{minute:02d} - Ann: {text}" for minute, text in enumerate(("a", "b", "ok", "c", "d"))]
    lines.insert(3, lines[2])  # said twice within a minute
    whole = [message.message_id for message in read_history(chat("\n".join(lines)))]
    assert len(set(whole)) == len(lines)
    assert [message.message_id for message in read_history(chat("\n".join(lines[2:])))] == whole[2:]
    without = [*lines[:1], *lines[2:]]
    assert [message.message_id for message in read_history(chat("\n".join(without)))] == [whole[0], *whole[2:]]
