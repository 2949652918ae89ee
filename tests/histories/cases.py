"""The cases: files under `shared/data/histories`, how they are read, and what should come out.

They are others' files and no part of the project: where they are not, the unit tests of the importers hold the same
kinds of lines.
"""

import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

from agentbus.contracts.messages import TextContent
from agentbus.workers.importers import HistoryUnreadable, Reading, read_history
from tests.harness.processes import SHARED_DATA

HISTORIES: Final = SHARED_DATA / "histories"


@dataclass(frozen=True)
class Case:
    """A file (or several, one after the other) and what it should give; what is None does not matter."""

    file: str
    told: str
    """What should come out, in words."""
    messages: int | None = None
    """Messages, without reactions and marks."""
    notices: int | None = None
    amendments: int = 0
    missed: int = 0
    """Lines or entries that are not understood."""
    said: tuple[tuple[str, str], ...] | None = None
    """Who says what."""
    among: tuple[tuple[str, str], ...] = ()
    """What of it is said."""
    users: frozenset[str] | None = None
    times: tuple[str, ...] | None = None
    """The times of the first messages, as far as they are given."""
    chats: frozenset[str] | None = None
    threads: tuple[str | None, ...] | None = None
    """The threads of the first messages."""
    attachments: int | None = None
    error: str | None = None
    remark: str | None = None
    distinct: int | None = None
    """Different messages in all files together."""
    options: dict[str, Any] = field(default_factory=dict)
    further: tuple[str, ...] = ()
    """Files that belong to it."""


@dataclass(frozen=True)
class Got:
    """What came out of a case, in words, and what of it is not as it should be."""

    shown: str
    wrong: tuple[str, ...]
    reading: Reading | None = None


def try_case(case: Case) -> Got:
    """Read the files of a case, and compare."""
    found: dict[str, Any] = {"error": None}
    messages, reading = [], Reading()
    ids = set()
    try:
        for name in (case.file, *case.further):
            history = read_history(HISTORIES / name, **case.options)
            reading = history.reading
            for message in history:
                messages.append(message)
                ids.add(message.input_id())
    except HistoryUnreadable as error:
        found["error"] = str(error).removeprefix(f"{HISTORIES}/")
    spoken = [(one, one.content) for one in messages if isinstance(one.content, TextContent)]
    found |= {
        "messages": len(spoken),
        "amendments": len(messages) - len(spoken),
        "notices": reading.notices,
        "missed": reading.lines_not_understood,
        "said": tuple((one.address.user, content.text) for one, content in spoken),
        "users": frozenset(one.address.user for one, _ in spoken),
        "times": tuple(f"{one.sent_at:%Y-%m-%d %H:%M:%S}" for one, _ in spoken),
        "chats": frozenset(one.address.chat for one, _ in spoken),
        "threads": tuple(one.address.thread for one, _ in spoken),
        "attachments": sum(len(content.attachments) for _, content in spoken),
        "remark": "; ".join(reading.remarks) or None,
        "distinct": len(ids),
    }
    return Got(_shown(found), tuple(_wrong(case, found)), reading)


def _wrong(case: Case, found: dict[str, Any]) -> list[str]:
    wrong: list[str] = []
    if case.error is not None or found["error"] is not None:
        if case.error is None or not re.search(case.error, found["error"] or ""):
            wrong.append(f"error: {found['error']}")
        return wrong
    for name in ("messages", "notices", "amendments", "missed", "said", "users", "chats", "attachments", "distinct"):
        expected = getattr(case, name)
        if expected is not None and found[name] != expected:
            wrong += [f"{name}: {found[name]!r}, not {expected!r}"]
    wrong += [f"{missing!r} is not said" for missing in case.among if missing not in found["said"]]
    for name in ("times", "threads"):
        expected = getattr(case, name)
        if expected is not None and found[name][: len(expected)] != expected:
            wrong += [f"{name}: {found[name][: len(expected)]}, not {expected}"]
    if case.remark is not None and not re.search(case.remark, found["remark"] or ""):
        wrong.append(f"remark: {found['remark']}")
    return wrong


def _shown(found: dict[str, Any]) -> str:
    if found["error"] is not None:
        return str(found["error"])
    counts = {name: found[name] for name in ("messages", "amendments", "notices")}
    parts = [f"{count} {name}" for name, count in counts.items() if count or name == "messages"]
    parts += [f"{found['missed']} not understood"] if found["missed"] else []
    parts += [f"of {', '.join(sorted(found['users']))}"] if 0 < len(found["users"]) <= _FEW else []
    parts += [f"({found['remark']})"] if found["remark"] else []
    return ", ".join(parts)


_FEW: Final = 6

_IRC: Final = (
    Case(
        "irc/weechat.weechatlog",
        "4 messages: ann, bob, dora (/me), ann with a tab in the text",
        notices=3,
        said=(
            ("ann", "Nou, dan zal ik maar"),
            ("bob", "Karma for whisky"),
            ("dora", "/me doet iets"),
            ("ann", "tab\tin text"),
        ),
    ),
    Case(
        "irc/hexchat.log",
        "7 and an action; the year of BEGIN LOGGING, the next after Dec 31",
        messages=8,
        users=frozenset({"ann", "bob", "dora", "[-c-]"}),
        times=(
            "2010-03-03 10:28:41",
            "2010-03-03 10:28:44",
            "2010-03-03 10:28:52",
            "2010-03-03 10:30:11",
            "2010-03-03 10:30:15",
            "2010-03-04 00:10:11",
            "2010-12-31 23:59:30",
            "2011-01-01 00:00:05",
        ),
    ),
    Case("irc/hexchat-hhmm.log", 'ann "Hi", ann "/me waves"', said=(("ann", "Hi"), ("ann", "/me waves"))),
    Case(
        "irc/mirc-2013-01-12.log",
        "ann hello; bobby /me waves; the notice of ann; bobby with the codes of colours and bold kept",
        said=(
            ("ann", "hello"),
            ("bobby", "/me waves"),
            ("ann", "a notice"),
            ("bobby", "\x0304red\x03 and \x02bold\x02"),
        ),
    ),
    Case(
        "irc/mirc-ampm-20130112.log",
        "09:11, 21:12, 21:13:14",
        messages=3,
        times=("2013-01-12 09:11:00", "2013-01-12 21:12:00", "2013-01-12 21:13:14"),
    ),
    Case(
        "irc/textual-2021-08-13.txt",
        "5 messages, offset and Z respected",
        messages=5,
        times=("2021-08-13 07:11:12", "2021-08-13 07:11:13", "2021-08-13 09:11:14", "2021-08-13 09:11:15"),
    ),
    Case(
        "irc/konversation.log",
        "2 and an action, days from the lines",
        said=(("ann", "hello"), ("bob", "/me waves"), ("bob", "next day")),
        times=("2005-06-27 09:19:20", "2005-06-27 09:19:25", "2005-06-28 00:10:00"),
    ),
    Case("irc/dircproxy-2009-01-14.log", "2 messages of ann and bob", messages=2, users=frozenset({"ann", "bob"})),
    Case(
        "irc/eggdrop.log.20050627",
        "ann hello, bob /me waves, anna late, anna two days later (29 June)",
        said=(("ann", "hello"), ("bob", "/me waves"), ("anna", "late"), ("anna", "two days later")),
        times=("2005-06-27 09:19:00", "2005-06-27 09:20:00", "2005-06-27 23:10:00", "2005-06-29 23:30:00"),
    ),
    Case(
        "irc/irssi-2014.log",
        "6 messages, and the notice of bob",
        messages=7,
        users=frozenset({"bob", "carl", "dora"}),
    ),
    Case(
        "irc/2005/06/27/#ubuntu.txt",
        "2 messages on 2005-06-27",
        messages=2,
        times=("2005-06-27 09:19:00",),
        chats=frozenset({"#ubuntu"}),
    ),
    Case(
        "irc/znc/#chan/2013-01-12.log",
        "both in chat #chan",
        messages=2,
        chats=frozenset({"#chan"}),
        further=("irc/znc/#chan/2013-01-13.log",),
        distinct=2,
    ),
    Case("irc/nodate.log", "an option to say the day", error=r"line 1: no telling which day .* \(--first-day "),
    Case(
        "irc/nodate.log",
        "with --first-day 2005-06-27: 2 messages",
        messages=2,
        times=("2005-06-27 10:00:00",),
        options={"first_day": date(2005, 6, 27)},
    ),
    Case("irc/#qtox_20160624.log.txt", "0 messages, all lines notices", messages=0, notices=79),
)
_PASTED: Final = "[9/6/2024, 14:41] Carlos: nos vemos el martes\n[9/6/2024, 14:42] Carlos: a las siete"
_WHATSAPP: Final = (
    Case(
        "whatsapp/ios-group-en.txt",
        "15 messages (1 deleted, 2 edited, 6 attachments), 8 notices",
        messages=15,
        amendments=3,
        notices=8,
        attachments=6,
        users=frozenset({"Bob Moss", "Carl Fox", "~\u202fDora"}),
    ),
    *(
        Case(f"whatsapp/{name}", "5 entries: 3 messages, one of them a file, and 2 notices", 3, 2, attachments=1)
        for name in ("ar-sa-ios.txt", "ko-kr-ios.txt", "zh-tw-ios.txt")
    ),
    Case("whatsapp/android-ar.txt", "2 messages, 1 notice", messages=2, notices=1, attachments=1),
    Case("whatsapp/ios-ar-digits.txt", "2 messages, 1 notice", messages=2, notices=1, times=("2026-09-15 20:46:00",)),
    *(
        Case(f"whatsapp/android-{name}.txt", "2 messages", 2, 0, times=(f"{first}:00",))
        for name, first in (
            ("ko", "2018-06-13 21:25"),
            ("zh-cn-12h", "2018-06-13 21:25"),
            ("ja-12h", "2018-06-13 21:25"),
            ("hi-12h", "2023-09-15 20:46"),
            ("fi", "2018-06-13 21:25"),
            ("hu", "2018-06-13 21:25"),
            ("bg", "2018-06-13 21:25"),
        )
    ),
    Case(
        "whatsapp/ios-he-12h.txt",
        "a notice, 2 messages",
        messages=2,
        notices=1,
        times=("2026-09-15 20:46:00", "2026-09-15 20:47:00"),
    ),
    Case("whatsapp/android-colon-notice.txt", "1 notice, Dana", 1, 1, users=frozenset({"Dana"})),
    Case("whatsapp/android-de-group.txt", "1 message", 1, 2, users=frozenset({"Jonas"})),
    Case("whatsapp/android-it-quote.txt", "1 message", 1, 1, users=frozenset({"Marco"})),
    Case("whatsapp/android-zh-quote.txt", "1 message", 1, 1, users=frozenset({"小明"})),
    Case(
        "whatsapp/android-es-paste.txt",
        "4 messages; the pasted lines belong to Beto's",
        said=(
            ("Ana", "Hola"),
            (
                "Beto",
                f"Mira lo que me dijo:\n{_PASTED}",
            ),
            ("Beto", "Curioso, no?"),
            ("Ana", "ya ves"),
        ),
    ),
    Case("whatsapp/android-es-poll.txt", "deleted and edited marked", messages=3, amendments=2, notices=1),
    Case("whatsapp/android-12h-nnbsp.txt", "deleted and edited marked", messages=9, amendments=2, notices=5),
    Case(
        "whatsapp/us-first-week.txt",
        "2 to 7 January 2024",
        messages=6,
        times=tuple(f"2024-01-0{day} 20:0{day}:00" for day in range(2, 8)),
        remark="--day-first says otherwise",
    ),
    Case(
        "whatsapp/android-us-undecided.txt",
        "9 December, or a warning and an option",
        messages=2,
        notices=1,
        remark="--month-first says otherwise",
    ),
    Case(
        "whatsapp/android-us-undecided.txt",
        "with --month-first: 9 December",
        messages=2,
        times=("2020-12-09 23:55:00",),
        options={"day_first": False},
    ),
    Case("whatsapp/bracket-dash.txt", "Alice", said=(("Alice", "hello"),)),
    Case("whatsapp/old-no-dash.txt", "2 messages", said=(("a", "m"), ("b", "n"))),
    Case("whatsapp/utf16.txt", '"this is UTF-16"; it is read as such', messages=4, remark="this is UTF-16"),
    Case("whatsapp/ios-12h-nnbsp.txt", "4 messages, for comparison", messages=4),
    Case("whatsapp/android-en-dash-times.txt", "1 message, 2 notices, for comparison", messages=1, notices=2),
)
_FUTURE: Final = (
    Case(
        "future/india-today.txt",
        "read on 2026-11-26 12:35 UTC: 60, none of them still to come",
        messages=60,
        times=("2026-11-26 11:35:00",),
        remark=r"UTC\+05:30; --zone",
        options={"now": datetime(2026, 11, 26, 12, 35, tzinfo=UTC)},
    ),
    Case("future/thai-2567.txt", "2024", messages=300, times=("2024-06-13 21:00:00",), remark="Buddhist"),
    Case(
        "future/us-october-2026.txt",
        "9 to 12 October 2026",
        messages=4,
        times=tuple(f"2026-10-{day:02} 20:{day:02}:00" for day in range(9, 13)),
    ),
)
_TELEGRAM: Final = (
    Case(
        "telegram/forum-and-media.json",
        "22 messages, 2 of them reactions; none empty but files, links and who forwarded kept, 2 and 3 in topic 1",
        messages=20,
        amendments=2,
        missed=1,
        threads=("1", "1", None),
        attachments=5,
        among=(
            ("111", "Tea or coffee?\n- Tea (2)\n- Coffee (1)"),
            ("111", "[forwarded from Some Channel]\nforwarded words"),
            ("111", "docs (https://example.org/docs) and boldx=1secret👍Bob"),
            ("111", "Bob +1000"),
            ("111", "2048\nhttps://t.me/x"),
            ("111", "🎲 3"),
        ),
    ),
    Case(
        "telegram/one-bad-of-three.json",
        "2 messages and one entry named as not understood",
        messages=2,
        missed=1,
        said=(("111", "first"), ("111", "third")),
    ),
    Case("telegram/bot-api-list.json", "a clear error", error="a list of Telegram messages, which is not read"),
    Case("telegram/cut-short.json", "a clear error", error="line 20: broken JSON, cut short perhaps"),
    Case("telegram/empty-chat.json", "0 messages of what is not empty: an error", error="there is no message in it"),
    Case("telegram/full-export.json", "8 messages, for comparison", messages=8),
    Case("telegram/legacy-2016.json", "3 messages, for comparison", messages=3),
)
_SLACK: Final = (
    Case(
        "slack/modern.zip",
        "file_comment by U02BEN, the old file attached, bots' blocks read",
        messages=19,
        notices=8,
        amendments=2,
        attachments=5,
        users=frozenset({"B99", "U01ANA", "U02BEN", "U03BOT", "U0EXT"}),
        among=(("U02BEN", "nice"), ("B99", "only in blocks"), ("U03BOT", "deployed *v2*")),
    ),
    Case("slack/grid.zip", "the teams' channels too", 4, chats=frozenset({"D01AB", "C0SHARED", "C01GEN", "C09"})),
    Case("slack/one-bad.zip", "2 messages, one entry not understood", messages=2, missed=1),
    Case("slack/profile-null.zip", "1 message", messages=1),
    Case("slack/no-lists.zip", "1 message", messages=1),
    Case("slack/2024-03-05.json", "a day alone is refused by name", error="a day of a Slack export"),
    Case("slack/day-folder", "1 message", messages=1),
)
_DISCORD: Final = tuple(
    Case(
        f"discord/{name}.json", "refused by name", error=r"a Discord export \(DiscordChatExporter\), which is not read"
    )
    for name in ("group", "dm")
)
_OTHERS: Final = (
    Case("zip/WhatsApp Chat - Dana.zip", "4 messages", messages=4, chats=frozenset({"Dana"})),
    Case("zip/macos.zip", "4 messages", messages=4),
    Case("zip/telegram-top.zip", "result.json within", messages=3),
    Case("zip/telegram-folder.zip", "result.json within", messages=3),
    Case("zip/irc-month.zip", "both logs", messages=2),
    Case("zip/nested-jsonl.zip", "the lines within", messages=3),
    Case(
        "overlap/first/WhatsApp Chat with Ann.txt",
        "8 messages in the two exports",
        messages=12,
        distinct=8,
        further=("overlap/later/WhatsApp Chat with Ann.txt",),
    ),
    Case("irc/bridge-2024-02-01.log", "7 messages, 2 lines named, for comparison", messages=7, missed=2),
    Case("irc/energymech-20050627.log", "2 messages, for comparison", messages=2, notices=2),
)
_JSONL: Final = (
    Case("jsonl/array.json", "refused", error="no telling what kind"),
    Case("jsonl/bad-line-3.jsonl", "3 messages, line 3 named", messages=3, missed=1),
    Case("jsonl/binary.bin", "refused", error="no telling what kind"),
    Case("jsonl/blank-first-lines.jsonl", "1 message", messages=1),
    Case("jsonl/duplicate-id.jsonl", "3 messages of 1 id", messages=3, distinct=1),
    Case("jsonl/empty.jsonl", "0 messages", messages=0),
    Case("jsonl/good-bom-crlf-blank.jsonl", "3 messages", messages=3),
    Case("jsonl/latin1.jsonl", "refused", error="line 1: not JSON in UTF-8"),
    Case("jsonl/newlines-only.jsonl", "0 messages", messages=0),
    Case("jsonl/no-zone.jsonl", "refused", error="line 1: sent_at: Input should have timezone info"),
    Case("jsonl/other-shape.jsonl", "refused", error="no telling what kind"),
    Case("jsonl/pretty.json", "refused", error="no telling what kind"),
    Case("jsonl/prose.txt", "refused", error="no telling what kind"),
    Case("jsonl/unknown-field.jsonl", "1 message, line 2 named", messages=1, missed=1),
    Case("jsonl/utf16.jsonl", "1 message, said to be UTF-16", messages=1, remark="this is UTF-16"),
)

CASES: Final = (*_IRC, *_WHATSAPP, *_FUTURE, *_TELEGRAM, *_SLACK, *_DISCORD, *_OTHERS, *_JSONL)


def there() -> list[Case]:
    """Return the cases whose files are on this machine."""
    return [case for case in CASES if (HISTORIES / case.file).exists()]


def uncovered() -> list[str]:
    """Return the files that are in no case."""
    named = {name for case in CASES for name in (case.file, *case.further)}
    files = (path.relative_to(HISTORIES).as_posix() for path in HISTORIES.rglob("*") if path.is_file())
    return sorted(
        file
        for file in files
        if file != "README.md" and file not in named and not any(Path(name) in Path(file).parents for name in named)
    )
