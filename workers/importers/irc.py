"""IRC logs, as irssi, XChat, mIRC and bots write them: one line per message, `[09:19] <nick> text`.

- Time stamps are `[HH:MM]` or `HH:MM`, with seconds or a date (`2005-06-27 09:19:00`) or neither. A line without one
  has the time of the line before it.
- Who speaks is the nick: the log does not say who is behind it, so that a rename makes another user.
- Actions (`* nick waves`) are messages with the text `/me waves`, which is what was typed.
- Joins, parts, quits, renames, modes and whatever begins with `===` or `-!-` are no messages.
- The day is that of the options, else of the file name (`2005-06-27_12.txt`), until the log itself names one
  (`--- Day changed Tue Jun 28 2005`). It ends when the clock goes back by more than two hours: less may be the end of
  daylight saving time. Without any of them the log can't be read: a message has a date.
- The channel is the first one that somebody joins or leaves, else the file's name.
"""

import re
from collections.abc import Generator
from datetime import date, datetime, time, timedelta
from typing import Final

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.messages import InboundMessage, TextContent
from agentbus.workers.importers.port import HistoryFormat
from agentbus.workers.importers.source import Source
from agentbus.workers.importers.values import fit_id, fit_name, position_id

FORMAT: Final = HistoryFormat.IRC

_STAMP: Final = re.compile(
    r"(?P<open>\[)?(?:(?P<date>\d{4}-\d\d-\d\d)[ T])?"
    r"(?P<hour>[01]?\d|2[0-3]):(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?(?(open)\])[ \t]+"
)
_SAID: Final = re.compile(r"<[ @+%&~!]{0,3}(?P<nick>[^<> ](?:[^<>]{0,253}[^<> ])?) {0,3}>[ \t]?(?P<text>.*)", re.DOTALL)
_ACTION: Final = re.compile(r"\*[ \t]+[@+%&~!]*(?P<nick>[^\s:*]+) (?P<text>.*)", re.DOTALL)
_NOTICE: Final = re.compile(
    r"(?:\([^)]*\) |\[[^]]*\] +)?(?:has (?:joined|left) [#&+!]|has quit(?: [(\[]|$)|is now known as \S+$"
    r"|sets mode|(?:gives|removes) (?:channel|voice)|has (?:been )?kicked|has (?:changed|set) the topic"
    r"|talking (?:in|on) [#&+!]|for [#&+!]\S* (?:is|set))"
)
_CHANNEL: Final = re.compile(r"(?:has (?:joined|left)|talking (?:in|on)|Topic for) ([#&+!][^\s,:]+)")
_CHANNEL_IN_NAME: Final = re.compile(r"[#&][^\s,.]+?(?=[-_.]?\d{4}-?\d\d-?\d\d|$)")
_DAY: Final = re.compile(
    r"(?:Day changed|Log opened|BEGIN LOGGING AT|Session (?:Start|Time):) \w{3} (\w{3}) +(\d\d?) (?:[\d:]+ )?(\d{4})"
)
_DATE_IN_NAME: Final = re.compile(r"(?<!\d)(\d{4})[-_.]?(\d\d)[-_.]?(\d\d)(?!\d)")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_ONE_DAY: Final = timedelta(days=1)
_NEW_DAY_AFTER: Final = timedelta(hours=2)


class _Clock:
    """What day and time it is in the log."""

    def __init__(self, day: date | None) -> None:
        self.day = day
        self.time = time()

    def set_day(self, day: date) -> None:
        self.day, self.time = day, time()

    def advance(self, stamp: re.Match[str]) -> None:
        """Go on to the time of `stamp`; to the next day if that is far enough back."""
        now = time(int(stamp["hour"]), int(stamp["minute"]), int(stamp["second"] or 0))
        if stamp["date"]:
            self.day = _day(*stamp["date"].split("-")) or self.day
        elif self.day and _since_midnight(self.time) - _since_midnight(now) > _NEW_DAY_AFTER:
            self.day += _ONE_DAY
        self.time = now


def read(source: Source) -> Generator[InboundMessage, None, None]:
    """Yield the messages of an IRC log, line by line. Bytes that are not UTF-8 are read as Latin-1."""
    chat = fit_id(source.options.chat or _channel(source))
    clock = _Clock(source.options.first_day or _day_in(source.path.stem))
    for number, line in source.lines(fallback="latin-1"):
        stamp = _STAMP.match(line)
        if stamp:
            clock.advance(stamp)
        elif changed := _day_changed(line):
            clock.set_day(changed)
        said = _spoken(line[stamp.end() :] if stamp else line)
        if said is None:
            source.skip()
            continue
        yield _message(source, chat, clock, number=number, line=line, said=said)


def looks_like(line: str) -> bool:
    """Tell whether `line` is something said in an IRC log, with its time."""
    stamp = _STAMP.match(line)
    return bool(stamp and (_SAID.match(line, stamp.end()) or _ACTION.match(line, stamp.end())))


def _message(
    source: Source, chat: str, clock: _Clock, *, number: int, line: str, said: tuple[str, str]
) -> InboundMessage:
    where = f"line {number}"
    if clock.day is None:
        raise source.unreadable(
            "no telling which day this is: give the date on which the log begins (--first-day)", where
        )
    nick, text = said
    with source.at(where):
        return InboundMessage(
            address=Address(platform=Platform.IRC, account=source.options.account, chat=chat, user=fit_id(nick)),
            message_id=position_id(source.path.stem, str(number), clock.day.isoformat(), line),
            sent_at=datetime.combine(clock.day, clock.time, source.options.zone),
            sender_name=fit_name(nick),
            content=TextContent(text=text),
        )


def _spoken(line: str) -> tuple[str, str] | None:
    """Return who says what, or None for a line that is no message."""
    if said := _SAID.match(line):
        return said["nick"], said["text"]
    action = _ACTION.match(line)
    if action is None or _NOTICE.match(action["text"]):
        return None
    return action["nick"], f"/me {action['text']}"


def _channel(source: Source) -> str:
    for _, line in source.lines(fallback="latin-1"):
        stamp = _STAMP.match(line)
        if _SAID.match(line, stamp.end() if stamp else 0) is None and (found := _CHANNEL.search(line)):
            return found[1]
    if named := _CHANNEL_IN_NAME.search(source.path.stem):
        return named[0]
    without_date = _DATE_IN_NAME.sub("", source.path.stem).strip("-_. ")
    return without_date if re.search(r"[^\W\d]", without_date) else source.path.stem


def _day_in(name: str) -> date | None:
    found = _DATE_IN_NAME.search(name)
    return _day(*found.groups()) if found else None


def _day_changed(line: str) -> date | None:
    found = None if _SAID.match(line) else _DAY.search(line)
    if found is None or found[1] not in _MONTHS:
        return None
    return _day(found[3], str(_MONTHS.index(found[1]) + 1), found[2])


def _day(year: str, month: str, day: str) -> date | None:
    try:
        return date(int(year), int(month), int(day))
    except ValueError:
        return None


def _since_midnight(moment: time) -> timedelta:
    return timedelta(hours=moment.hour, minutes=moment.minute, seconds=moment.second)
