"""What every reader of chat histories takes, gives and raises."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from datetime import UTC, date, tzinfo
from enum import StrEnum
from pathlib import Path
from typing import Final

from agentbus.contracts.errors import AgentBusError
from agentbus.contracts.messages import InboundMessage

NOT_EXPORTED: Final = "urn:agentbus:not-exported"
"""The uri of an attachment that the export mentions without holding it."""

UNKNOWN_USER: Final = "unknown"
"""The user of a message whose export does not say who wrote it (a deleted account, for example)."""


class HistoryFormat(StrEnum):
    """How a chat history is written down."""

    AUTO = "auto"
    """Find out from the content."""
    IRC = "irc"
    """The text log of an IRC client: `[09:19] <nick> text`."""
    TELEGRAM = "telegram"
    """Telegram Desktop's `result.json`, of one chat or of an account; or the folder that holds it."""
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
    zone: tzinfo = UTC
    """The time zone of times written without one."""


@dataclass(slots=True)
class Tally:
    """What a reader counts along the way."""

    skipped: int = 0


class History(Iterator[InboundMessage]):
    """The messages of a history, read as they are asked for; once.

    Going on may raise HistoryUnreadable: what came before stands, what comes after is not read. Reading to the end
    closes the file; `close` does so before the end.
    """

    def __init__(
        self,
        path: Path,
        format: HistoryFormat,  # noqa: A002 - the word that people know it by
        messages: Generator[InboundMessage, None, None],
        tally: Tally,
    ) -> None:
        self.path = path
        self.format = format
        self._messages = messages
        self._tally = tally

    @property
    def skipped(self) -> int:
        """Lines (of a text) or entries (of an export) passed over so far, as they are no messages: joins, notices."""
        return self._tally.skipped

    def __next__(self) -> InboundMessage:
        try:
            return next(self._messages)
        except OSError as error:
            raise HistoryUnreadable.of(self.path, error.strerror or str(error)) from error

    def close(self) -> None:
        """Stop reading and close the file."""
        self._messages.close()
