"""IRC logs."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from agentbus.contracts.messages import InboundMessage, TextContent
from agentbus.workers.importers import HistoryFormat, HistoryUnreadable, Reading, read_history

SAMPLES = Path(__file__).parents[3] / "samples" / "histories" / "irc"

Log = Callable[..., Path]


@pytest.fixture
def log(tmp_path: Path) -> Log:
    def write(*lines: str, name: str = "garden_2024-03-09.log") -> Path:
        path = tmp_path / name
        path.write_text("".join(f"{line}\n" for line in lines))
        return path

    return write


def said(message: InboundMessage) -> str:
    assert isinstance(message.content, TextContent)
    return message.content.text


def test_the_sample_over_midnight() -> None:
    messages = list(read_history(SAMPLES / "2024-03-09_garden.txt"))
    assert [(m.address.user, m.sent_at, said(m)) for m in messages] == [
        ("ivy", datetime(2024, 3, 9, 23, 57, tzinfo=UTC), "has anyone got tomato seeds left?"),
        ("moss", datetime(2024, 3, 9, 23, 58, tzinfo=UTC), "ivy: plenty, come by tomorrow"),
        ("ivy", datetime(2024, 3, 9, 23, 59, tzinfo=UTC), "/me dances"),
        ("fern", datetime(2024, 3, 10, 0, 1, tzinfo=UTC), "good morning :)"),
        ("moss", datetime(2024, 3, 10, 0, 2, tzinfo=UTC), ""),
    ]
    assert {m.address.chat for m in messages} == {"#garden"}
    assert len({one.message_id for one in messages}) == 5


def test_the_sample_that_names_its_days() -> None:
    messages = list(read_history(SAMPLES / "irssi.log"))
    assert [(m.address.user, m.sent_at, said(m)) for m in messages] == [
        ("ivy", datetime(2024, 3, 9, 21, 1, tzinfo=UTC), "hello"),
        ("moss", datetime(2024, 3, 9, 21, 2, 30, tzinfo=UTC), "hi ivy"),
        ("moss", datetime(2024, 3, 9, 21, 3, tzinfo=UTC), "/me waves"),
        ("fern", datetime(2024, 3, 10, 8, 15, tzinfo=UTC), "is it < 5 > 3?"),
    ]


@pytest.mark.parametrize(
    ("line", "user", "text"),
    [
        ("[09:19] <ann> hi", "ann", "hi"),
        ("[09:19:20] <ann> hi", "ann", "hi"),
        ("09:19 <ann> hi", "ann", "hi"),
        ("9:19 < ann> hi", "ann", "hi"),
        ("[09:19] <@ann> hi", "ann", "hi"),
        ("[2024-03-09 09:19:00] <+ann> hi", "ann", "hi"),
        ("2024-03-09T09:19:00 <ann>\thi", "ann", "hi"),
        ("[09:19] <ann>  two spaces ", "ann", " two spaces "),
        ("[09:19] <ann>", "ann", ""),
        ("[09:19] <[a]n_n|away> \x02bold\x0f", "[a]n_n|away", "\x02bold\x0f"),
        ("[09:19] <ann> * bob has quit (really)", "ann", "* bob has quit (really)"),
        ("[09:19] * ann has left the building", "ann", "/me has left the building"),
        ("* ann waves", "ann", "/me waves"),
        ("<ann> no time", "ann", "no time"),
        ("[09:19]  * ann waves", "ann", "/me waves"),
        ("[09:19] Action: ann waves", "ann", "/me waves"),
        ("[09:19] • ann: waves", "ann", "/me waves"),
        ("[09:19] -ann:#garden- a notice", "ann", "a notice"),
        ("[09:19] <ann!n=nm@host> -hey", "ann", "-hey"),
        ("[09:19] <a!b> hi", "a!b", "hi"),
        ("[09:19am] <ann> hi", "ann", "hi"),
        ("[09:19 AM] <ann> hi", "ann", "hi"),
        ("[09:19.20] <ann> hi", "ann", "hi"),
        ("[09 Mar 09:19] <ann> hi", "ann", "hi"),
        ("[09-Mar-2024 09:19:20] <ann> hi", "ann", "hi"),
        ("[2024-03-09 09:19:20] \u2014 ann waves", "ann", "/me waves"),
        ("09:19 -ann/#garden- a notice", "ann", "a notice"),
        ("Mar 09 09:19:20 <ann>\thi", "ann", "hi"),
        ("[Sat Mar 09 2024] [09:19:20] <ann>\thi", "ann", "hi"),
        ("[2024-03-09 09:19:15.250] <ann> hi", "ann", "hi"),
        ("2024-03-09T09:19:16.123Z <ann> hi", "ann", "hi"),
        ("2024-03-09 09:19:00\tann\thi", "ann", "hi"),
        ("2024-03-09 09:19:00\t@ann\ta\ttab", "ann", "a\ttab"),
        ("2024-03-09 09:19:00\t *\tann waves", "ann", "/me waves"),
    ],
)
def test_what_is_said(log: Log, line: str, user: str, text: str) -> None:
    (message,) = read_history(log(line), HistoryFormat.IRC)
    assert (message.address.user, message.sender_name, said(message)) == (user, user, text)


@pytest.mark.parametrize(
    "line",
    [
        "=== ann [~ann@host.example]  has joined #garden",
        "=== ann is now known as bob",
        "[09:19] * ann is now known as bob",
        "* ann (~ann@host.example) has quit (Ping timeout)",
        "* ann has quit",
        "* ann sets mode +o bob",
        "* ann gives channel operator status to bob",
        "* Now talking on #garden",
        "* Topic for #garden is: roses",
        "09:19 -!- ann [~ann@host.example] has left #garden []",
        "*** Joins: ann (~ann@host.example)",
        "",
        "[09:19] * Topic is 'roses'",
        "[09:19] * Set by ann on Sat Mar 09",
        "[09:19] * Joins: ann (~a@host)",
        "[09:19] * ann was kicked by bob (flood)",
        "[09:19] * ann changes topic to 'thorns'",
        "[09:19] * Disconnected",
        "[09:19] * Rejoined channel #garden",
        "[09:19] * Retrieving #garden modes...",
        "[09:19] *\tann (~a@host) has joined",
        '[09:19] *\tann (~a@host) has left ("bye")',
        "[09:19] *\tYou are now known as ann2",
        "[09:19] *\tann has kicked bob from #garden (flood)",
        "[09:19] *\tann sets ban on *!*@host",
        "[09:19] -NickServ- this nick is registered",
        "[09:19] -feed- something new",
        "[2024-03-09 09:19:20] \u2192 ann joined (~a@host)",
        "[2024-03-09 09:19:20] \u21d0 ann quit (~a@host): bye",
        "09:19 !irc.example.org *** Looking up your hostname",
        "Session Ident: #garden",
        "[09:19] --> bob (n=user@host) joined the channel",
        "[09:19] Join\tann has joined this channel (~a@host).",
        "[09:19] ann (~a@host) joined #garden.",
        "[09:19] ann (~a@host) left irc: Quit",
        "[09:19] #garden: mode change '+o ann' by ChanServ!s@services",
        "[09:19] Nick change: ann -> anna",
        "[09:19] ann kicked from #garden by bob: flood",
        "2024-03-09 10:00:00\t-->\tann (a@host) has joined #garden",
        "2024-03-09 10:00:00\t--\tann is now known as bob",
        "2024-03-09 10:00:00\t\tno prefix at all",
    ],
)
def test_what_is_no_message_is_counted(log: Log, line: str) -> None:
    reading = read_all(log(line, "[10:00] <ann> said"))
    assert (reading.messages, reading.lines_of_notices, reading.lines_blank) == (1, int(line != ""), int(line == ""))


@pytest.mark.parametrize(
    "line",
    [
        "[25:99] <ann> no such time",
        "[09:19 <ann> bracket left open",
        "<>",
        "[09:19] ann: another program",
        "2024-03-09 10:00:00\tno column",
    ],
)
def test_what_is_of_no_known_kind_is_told(log: Log, line: str) -> None:
    reading = read_all(log("[10:00] <ann> said", line))
    assert (reading.messages, [missed.where for missed in reading.not_understood]) == (1, ["line 2"])


def read_all(path: Path) -> Reading:
    history = read_history(path, HistoryFormat.IRC)
    list(history)
    return history.reading


def times(*lines: str, path: Log, first_day: date | None = None, name: str = "x_20240309.log") -> list[str]:
    history = read_history(path(*lines, name=name), HistoryFormat.IRC, first_day=first_day)
    return [message.sent_at.strftime("%m-%d %H:%M") for message in history]


def test_the_clock_going_back_by_an_hour_is_the_same_day(log: Log) -> None:
    assert times("[02:59] <a> x", "[02:00] <a> y", path=log) == ["03-09 02:59", "03-09 02:00"]


def test_a_night_without_messages_is_a_new_day(log: Log) -> None:
    assert times("[18:00] <a> x", "[09:00] <a> y", "[08:59] <a> z", path=log) == [
        "03-09 18:00",
        "03-10 09:00",
        "03-10 08:59",
    ]


def test_the_clock_of_notices_counts_too(log: Log) -> None:
    lines = ("[10:00] <a> x", "[23:00] * b has joined #c", "[01:00] * b has left #c", "[11:00] <a> y")
    assert times(*lines, path=log) == ["03-09 10:00", "03-10 11:00"]


def test_the_given_day_stands_above_that_of_the_name(log: Log) -> None:
    assert times("[10:00] <a> x", path=log, first_day=date(2020, 1, 2)) == ["01-02 10:00"]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["[09:11am] <a> x", "[9:12 PM] <a> x", "[12:13am] <a> x"], ["03-09 09:11", "03-09 21:12", "03-10 00:13"]),
        (["**** BEGIN LOGGING AT Fri Dec 31 23:59:00 2010", "Dec 31 23:59:30 <a>\tx", "Jan 01 00:00:05 <a>\ty"],
         ["12-31 23:59", "01-01 00:00"]),
        (["[00:00] --- Mon Jun 27 2005", "[23:10] <a> x", "[00:00] --- Tue Jun 28 2005", "[00:00] --- Wed Jun 29 2005",
          "[23:30] <a> y"], ["06-27 23:10", "06-29 23:30"]),
        (["[Mon Jun 27 2005] [09:19:20] <a>\tx", "[Tue Jun 28 2005] [00:10:00] <a>\ty"],
         ["06-27 09:19", "06-28 00:10"]),
        (["[2021-08-13T09:11:12+0200] <a> x", "[2021-08-13T09:11:14Z] <a> x"], ["08-13 07:11", "08-13 09:11"]),
        (["[2021-08-13T00:11:12+02:00] <a> x"], ["08-12 22:11"]),
        (["[14 Jan 10:36] <a> x"], ["01-14 10:36"]),
    ],
)  # fmt: skip
def test_what_the_programs_write_for_a_time(log: Log, lines: list[str], expected: list[str]) -> None:
    assert times(*lines, path=log) == expected


def test_a_year_goes_by_within_stamps_that_have_none(log: Log) -> None:
    lines = ("**** BEGIN LOGGING AT Fri Dec 31 23:59:00 2010", "Dec 31 23:59:30 <a>\tx", "Jan 01 00:00:05 <a>\ty")
    assert [one.sent_at.year for one in read_history(log(*lines))] == [2010, 2011]


def test_times_that_are_still_to_come_in_utc_are_of_a_zone_to_the_east(log: Log) -> None:
    path = log("[17:05] <a> x", "[18:04] <a> y")
    history = read_history(path, now=datetime(2024, 3, 9, 12, 35, tzinfo=UTC))
    assert [one.sent_at for one in history] == [
        datetime(2024, 3, 9, 11, 35, tzinfo=UTC),
        datetime(2024, 3, 9, 12, 34, tzinfo=UTC),
    ]
    assert history.reading.remarks == [
        "its last times are still to come in UTC: read as UTC+05:30; --zone says otherwise"
    ]


@pytest.mark.parametrize(
    ("name", "chat", "day"),
    [
        ("2005/06/27/#ubuntu.txt", "#ubuntu", 27),
        ("eggdrop.log.20050627", "eggdrop.log", 27),
        ("#garden/2005-06-27.log", "#garden", 27),
        ("irc.libera.#garden.20050627.weechatlog", "#garden", 27),
        ("#garden_20050627.log.txt", "#garden", 27),
    ],
)
def test_days_and_channels_in_the_names_of_files_and_folders(tmp_path: Path, name: str, chat: str, day: int) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("[10:00] <a> x\n")
    (message,) = read_history(path)
    assert (message.address.chat, message.sent_at.date()) == (chat, date(2005, 6, day))


def test_logs_that_overlap_repeat_the_ids(log: Log) -> None:
    lines = ["[10:00] <a> x", "[10:01] <a> ok", "[10:01] <a> ok", "[10:02] <a> y"]
    first = [one.message_id for one in read_history(log(*lines))]
    assert [one.message_id for one in read_history(log(*lines[1:], name="rest_20240309.log"))] == first[1:]
    assert len(set(first)) == 4


@pytest.mark.parametrize(
    "line",
    [
        "--- Day changed Wed Jul 03 2024",
        "--- Log opened Wed Jul 03 12:00:00 2024",
        "**** BEGIN LOGGING AT Wed Jul  3 12:00:00 2024",
        "Session Time: Wed Jul 03 00:00:00 2024",
    ],
)
def test_a_line_that_names_the_day_stands_above_all(log: Log, line: str) -> None:
    assert times(line, "[10:00] <a> x", path=log) == ["07-03 10:00"]


@pytest.mark.parametrize("line", ["--- Day changed Wed Foo 03 2024", "--- Day changed Wed Feb 31 2024"])
def test_a_day_that_does_not_exist_is_passed_over(log: Log, line: str) -> None:
    assert times(line, "[10:00] <a> x", path=log) == ["03-09 10:00"]


def test_without_any_day_the_first_message_is_unreadable(log: Log) -> None:
    history = read_history(log("=== a [b] has joined #c", "[10:00] <a> x", name="x_20241399.log"), HistoryFormat.IRC)
    with pytest.raises(HistoryUnreadable, match=r"line 2: no telling which day .*--first-day"):
        next(history)


@pytest.mark.parametrize(
    ("name", "chat"),
    [
        ("#garden.log", "#garden"),
        ("libera_#garden-talk-2024-03-09.log", "#garden-talk"),
        ("2024-03-09_garden.txt", "garden"),
        ("garden.2024-03-09.log", "garden"),
        ("2024-03-09_12.txt", "2024-03-09_12"),
    ],
)
def test_the_channel_by_the_name_of_the_file(log: Log, name: str, chat: str) -> None:
    path = log("[10:00] <a> b has joined #not-this-one", name=name)
    assert [m.address.chat for m in read_history(path, first_day=date(2024, 3, 9))] == [chat]


def test_times_are_in_the_zone_given(log: Log) -> None:
    (message,) = read_history(log("[10:00] <a> x"), zone=ZoneInfo("Europe/Berlin"))
    assert message.sent_at == datetime(2024, 3, 9, 9, tzinfo=UTC)


def test_lines_end_in_cr_lf_and_may_be_latin_1(tmp_path: Path) -> None:
    path = tmp_path / "2024-03-09.log"
    path.write_bytes(b"\xef\xbb\xbf[10:00] <a> caf\xe9\r\n[10:01] <a> caf\xc3\xa9\r\n[10:02] <a> \xe2\x80\xa8sep")
    assert [said(m) for m in read_history(path)] == ["café", "café", "\u2028sep"]


def test_the_same_line_on_another_day_is_another_message(log: Log) -> None:
    path = log("[10:00] <a> good morning", name="09.log")
    ids = {next(read_history(path, first_day=date(2024, 3, day))).message_id for day in (9, 10)}
    assert len(ids) == 2


def test_a_long_line_of_blanks_is_read_in_no_time(log: Log) -> None:
    hostile = [
        "<" + " " * 200_000,
        "[10:00] <" + "a" * 200_000,
        "* " + "a" * 200_000,
        "* " + "@" * 200_000,
        "*" + " " * 200_000,
        "-" * 200_000,
        "a" * 200_000 + " (" + "@" * 200_000,
        "2024-03-09 10:00:00\t" + "\t" * 200_000,
        "[10:00] -a:#" + "-" * 200_000,
        "Topic for #" + "x" * 200_000,
    ]
    reading = read_all(log(*hostile, "[10:00] <ann> hi"))
    assert reading.lines == len(hostile) + 1
