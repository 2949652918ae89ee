"""What every reader of chat histories takes, gives and raises."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, tzinfo
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from agentbus.contracts.clock import SystemClock
from agentbus.contracts.errors import AgentBusError
from agentbus.contracts.messages import InboundMessage, Spoken

NOT_EXPORTED: Final = "urn:agentbus:not-exported"
"""The uri of an attachment that the export mentions without holding it."""

UNKNOWN_USER: Final = "unknown"
"""The user of a message whose export does not say who wrote it (a deleted account, for example)."""

LISTED: Final = 1000
"""How much of what was not understood is listed; all of it is counted."""

_NAMED: Final = 3


class HistoryFormat(StrEnum):
    """How a chat history is written down."""

    AUTO = "auto"
    """Find out from the content."""
    IRC = "irc"
    """The text log of an IRC client: `[09:19] <nick> text`; or a folder or zip of such logs."""
    TELEGRAM = "telegram"
    """Telegram Desktop's `result.json`, of one chat or of an account; or the folder or zip that holds it."""
    SLACK = "slack"
    """A Slack export: the zip, or the folder unpacked from it."""
    WHATSAPP = "whatsapp"
    """WhatsApp's text export of one chat; also inside the zip it may come in."""
    JSONL = "jsonl"
    """One inbound message, or one input envelope, as JSON per line."""


class HistoryUnreadable(AgentBusError):
    """The chat history can't be read. Details: `path`, and `where` in it (a line, a message) if that is known."""

    @classmethod
    def of(cls, path: Path, problem: str, where: str | None = None) -> "HistoryUnreadable":
        """Say which file, where in it, and what is wrong (and, in `problem`, what to try)."""
        place = f"{path}, {where}" if where else str(path)
        return cls(f"{place}: {problem}", path=str(path), where=where)


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryOptions:
    """What a history file may leave open. Every option is passed over by the formats that don't need it."""

    account: str = "default"
    """The account the messages are said to have come through."""
    chat: str | None = None
    """The chat's id, in place of the one worked out (IRC, WhatsApp, Telegram exports of one chat)."""
    day_first: bool | None = None
    """Whether 01/02/19 is the first of February, for a WhatsApp file that has no date which tells."""
    first_day: date | None = None
    """The day on which an IRC log begins, in place of the one in its file name."""
    zone: tzinfo | None = None
    """The time zone of times written without one; None: UTC, or the nearest in which none of them is still to come."""
    now: datetime = field(default_factory=lambda: SystemClock().now())
    """When it is read: nothing was said later."""


@dataclass(frozen=True, slots=True)
class Said:
    """A message, and how many lines (of a text) or entries (of an export) it took: 0 for what came with another."""

    message: InboundMessage
    lines: int = 1


@dataclass(frozen=True, slots=True)
class Notice:
    """Lines or entries that nobody said: joins, calls, new titles."""

    lines: int = 1


@dataclass(frozen=True, slots=True)
class Blank:
    """Lines with nothing in them, between others."""

    lines: int = 1


@dataclass(frozen=True, slots=True)
class NotUnderstood:
    """Lines or entries of which there is no telling what they are, or that can't be taken: where, and why."""

    where: str
    problem: str
    lines: int = 1


Entry = Said | Notice | Blank | NotUnderstood
"""What a reader yields: each line or entry of a history is in one of them."""

Reader = Generator[Entry, None, None]


@dataclass(slots=True)
class Reading:
    """What a history came to, as far as it was read; every line (or entry) is counted as one of four things."""

    messages: int = 0
    amendments: int = 0
    """Reactions to messages, and marks that one was edited or deleted."""
    notices: int = 0
    lines: int = 0
    """All lines of the texts, or entries of the exports."""
    lines_of_messages: int = 0
    lines_of_notices: int = 0
    lines_blank: int = 0
    lines_not_understood: int = 0
    not_understood: list[NotUnderstood] = field(default_factory=list)
    """The first 1,000 of them."""
    remarks: list[str] = field(default_factory=list)
    """What was guessed, and how to say otherwise."""
    documents: int = 0
    """Files of JSON that were not empty."""

    def count(self, entry: Entry) -> None:
        """Count what was read."""
        self.lines += entry.lines
        match entry:
            case Said(message, lines):
                spoken = isinstance(message.content, Spoken)
                self.messages += spoken
                self.amendments += not spoken
                self.lines_of_messages += lines
            case Notice(lines):
                self.notices += 1
                self.lines_of_notices += lines
            case Blank(lines):
                self.lines_blank += lines
            case NotUnderstood():
                self.lines_not_understood += entry.lines
                if len(self.not_understood) < LISTED:
                    self.not_understood.append(entry)

    @property
    def empty(self) -> bool:
        """Whether there was nothing in the files but blanks."""
        return self.lines == self.lines_blank and not self.documents

    @property
    def barren(self) -> str | None:
        """What is wrong with a history that is not empty, has no message, and does not consist of notices either."""
        if self.messages or self.amendments or self.empty or (self.notices and not self.lines_not_understood):
            return None
        if not self.lines_not_understood:
            return "there is no message in it"
        named = "; ".join(f"{one.where}: {one.problem}" for one in self.not_understood[:_NAMED])
        return f"no message in it, and {self.lines_not_understood} lines or entries not understood: {named}"

    def as_dict(self) -> dict[str, Any]:
        """Return it as one JSON object; `not_understood` lists where and why, up to 1,000 times."""
        return {
            "messages": self.messages,
            "amendments": self.amendments,
            "notices": self.notices,
            "lines": self.lines,
            "lines_of_messages": self.lines_of_messages,
            "lines_of_notices": self.lines_of_notices,
            "lines_blank": self.lines_blank,
            "lines_not_understood": self.lines_not_understood,
            "not_understood": [{"where": one.where, "problem": one.problem} for one in self.not_understood],
            "remarks": list(self.remarks),
        }


class History(Iterator[InboundMessage]):
    """The messages of a history, read as they are asked for; once.

    What can't be understood is passed over and told in `reading`. Going on may raise HistoryUnreadable: what came
    before stands, what comes after is not read; at its end a history raises it that is not empty and has neither
    messages nor notices alone. Reading to the end closes the file; `close` does so before the end.
    """

    def __init__(
        self,
        path: Path,
        format: HistoryFormat,  # noqa: A002 - the word that people know it by
        entries: Reader,
        reading: Reading,
    ) -> None:
        self.path = path
        self.format = format
        self.reading = reading
        self._entries = entries
        self._closed = False

    def __next__(self) -> InboundMessage:
        try:
            for entry in self._entries:
                self.reading.count(entry)
                if isinstance(entry, Said):
                    return entry.message
        except OSError as error:
            raise HistoryUnreadable.of(self.path, error.strerror or str(error)) from error
        if not self._closed and (problem := self.reading.barren):
            self._closed = True
            raise HistoryUnreadable.of(self.path, problem)
        raise StopIteration

    def close(self) -> None:
        """Stop reading and close the file."""
        self._closed = True
        self._entries.close()
