"""IRC logs, as irssi, WeeChat, XChat and HexChat, mIRC, Konversation, Textual, ZNC, dircproxy, eggdrop and other bots
write them: one line per message, `[09:19] <nick> text`.

- Time stamps have a date or not, seconds or not, am and pm or not, a zone or not. A line without one has the time of
  the line before it.
- Who speaks is the nick: the log does not say who is behind it, so that a rename makes another user.
- Actions (`* nick waves`) are messages with the text `/me waves`, which is what was typed. Notices to the channel
  (`-nick:#channel- text`) are messages. Codes for colours and bold stay in the text.
- Joins, parts, quits, renames, modes, and notices to one person or by a server (`-nick- text`), are no messages. What
  is of no kind that is known is told as such.
- The day is that of the options, else of the file's name (`2005-06-27_12.txt`, `eggdrop.log.20050627`) or folders
  (`2005/06/27/#ubuntu.txt`), until the log itself names one (`--- Day changed Tue Jun 28 2005`). It ends when the clock
  goes back by more than two hours: less may be the end of daylight saving time. Stamps without a year are in that of
  the day before them, or in the next. Without any of them the log can't be read: a message has a date.
- The channel is in the file's name, or in that of its folder if the file is named after a day; else the first one that
  somebody joins or leaves, else the file's name.
- A message's id is a digest of day and line, and which line of that text it is: so logs may overlap.
"""

from datetime import datetime, tzinfo
from typing import Final

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.messages import InboundMessage, TextContent
from agentbus.workers.importers.irc_days import Clock, channel_in, channel_named, day_begun, day_in, name_without_day
from agentbus.workers.importers.irc_lines import STAMP, Spoken, is_notice, looks_like, spoken_in
from agentbus.workers.importers.port import Blank, Entry, HistoryFormat, Notice, Reader, Said
from agentbus.workers.importers.source import REFUSALS, Source
from agentbus.workers.importers.values import ContentIds, fit_id, fit_name

__all__ = ["FORMAT", "looks_like", "read"]

FORMAT: Final = HistoryFormat.IRC

_ENCODING: Final = "latin-1"
_NO_DAY: Final = "no telling which day this is: give the date on which the log begins (--first-day 2005-06-27)"


class _Log:
    """A log being read."""

    def __init__(self, source: Source) -> None:
        self.source = source
        channel, latest = _survey(source)
        self.chat = fit_id(source.options.chat or channel)
        self.zone: tzinfo = source.zone(latest)
        self.clock = _clock(source)
        self.ids = ContentIds()

    def entry(self, number: int, line: str) -> Entry:
        """Return what a line is."""
        spoken, known = _heard(self.clock, line)
        if spoken is None:
            where = f"line {number}"
            return known or self.source.not_understood(where, "neither something said nor a notice that is known")
        moment = self.clock.now()
        if moment is None:
            raise self.source.unreadable(_NO_DAY, f"line {number}")
        try:
            return Said(self._message(moment, line, spoken))
        except REFUSALS as error:
            return self.source.not_understood(f"line {number}", error)

    def _message(self, moment: datetime, line: str, spoken: Spoken) -> InboundMessage:
        return InboundMessage(
            address=Address(
                platform=Platform.IRC,
                account=self.source.options.account,
                chat=self.chat,
                user=fit_id(spoken.nick),
            ),
            message_id=self.ids.next(moment.date().isoformat(), line),
            sent_at=moment if moment.tzinfo else moment.replace(tzinfo=self.zone),
            sender_name=fit_name(spoken.nick),
            content=TextContent(text=spoken.text),
        )


def read(source: Source) -> Reader:
    """Yield what each line of an IRC log is; it is read twice. Bytes that are not UTF-8 are read as Latin-1."""
    log = _Log(source)
    for number, line in source.lines(fallback=_ENCODING):
        yield log.entry(number, line)


def _heard(clock: Clock, line: str) -> tuple[Spoken | None, Entry | None]:
    """Move the clock on to a line; return what was said in it, or the notice that it is, or neither."""
    stamp = STAMP.match(line)
    if stamp:
        clock.advance(stamp)
    if spoken := spoken_in(line, stamp):
        return spoken, None
    if begun := day_begun(line):
        clock.set_day(begun)
        return None, Notice()
    if not line.strip():
        return None, Blank()
    return None, Notice() if is_notice(line, stamp) else None


def _survey(source: Source) -> tuple[str, datetime | None]:
    """Return the channel, and the last time that is written without a zone."""
    channel, latest, clock = channel_named(source.place.named), None, _clock(source)
    for _, line in source.lines(fallback=_ENCODING):
        spoken, _ = _heard(clock, line)
        if spoken is None:
            channel = channel or channel_in(line)
        elif (now := clock.now()) and now.tzinfo is None:
            latest = max(latest or now, now)
    return channel or name_without_day(source.title), latest


def _clock(source: Source) -> Clock:
    return Clock(source.options.first_day or day_in(source.place.named))
