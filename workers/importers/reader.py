"""Opening a history of any format, and finding out which it is by its content."""

import re
from collections.abc import Callable, Generator, Sequence
from datetime import UTC, date, tzinfo
from pathlib import Path
from typing import Final

from agentbus.contracts.messages import InboundMessage
from agentbus.workers.importers import irc, jsonl, slack, telegram, whatsapp
from agentbus.workers.importers.port import History, HistoryFormat, HistoryOptions, HistoryUnreadable
from agentbus.workers.importers.slack_files import is_slack_folder, is_slack_zip
from agentbus.workers.importers.source import Source, open_text

_READERS: Final[dict[HistoryFormat, Callable[[Source], Generator[InboundMessage, None, None]]]] = {
    module.FORMAT: module.read for module in (irc, telegram, slack, whatsapp, jsonl)
}

_HEAD_BYTES: Final = 262_144
_TRY: Final = "say which with --format, if you know"
_JSONL: Final = re.compile(r'"(?:specversion"\s*:\s*"|content"\s*:\s*\{)')
_TELEGRAM: Final = re.compile(r'"(?:messages|chats|personal_information|frequent_contacts|about)"\s*:\s*[\[{"]')


def read_history(
    path: Path,
    format: HistoryFormat = HistoryFormat.AUTO,  # noqa: A002 - the word that people know it by
    *,
    account: str = "default",
    chat: str | None = None,
    first_day: date | None = None,
    day_first: bool | None = None,
    zone: tzinfo = UTC,
) -> History:
    """Open the history at `path`, a file or a folder, to be read message by message.

    The options are those of `HistoryOptions`. Reading the same file again yields the same ids, so that what has been
    taken in once is not taken in twice. Raises HistoryUnreadable, here or while reading.
    """
    found = detect_format(path) if format is HistoryFormat.AUTO else format
    options = HistoryOptions(account=account, chat=chat, first_day=first_day, day_first=day_first, zone=zone)
    source = Source(path, options)
    return History(path, found, _READERS[found](source), source.tally)


def detect_format(path: Path) -> HistoryFormat:
    """Return the format of the history at `path` (a file or a folder).

    An empty file is JSON lines with none. Raises HistoryUnreadable if it can't tell, or can't read.
    """
    try:
        if path.is_dir():
            return _of_folder(path)
        if is_slack_zip(path):
            return HistoryFormat.SLACK
        with open_text(path) as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise HistoryUnreadable.of(path, error.strerror or str(error)) from error
    found = _of_text(head.decode("utf-8-sig", errors="replace"))
    if found is None:
        raise HistoryUnreadable.of(path, f"no telling what kind of history this is: {_TRY}")
    return found


def _of_folder(path: Path) -> HistoryFormat:
    if (path / telegram.FILE_NAME).is_file():
        return HistoryFormat.TELEGRAM
    if is_slack_folder(path):
        return HistoryFormat.SLACK
    raise HistoryUnreadable.of(path, "a folder without a Telegram or Slack export: name a file in it")


def _of_text(head: str) -> HistoryFormat | None:
    if not head.strip():
        return HistoryFormat.JSONL
    lines = head.split("\n")
    if found := _of_log(lines):
        return found
    start = head.lstrip()
    if not start.startswith("{"):
        return None
    if _JSONL.search(start.partition("\n")[0]):
        return HistoryFormat.JSONL
    return HistoryFormat.TELEGRAM if _TELEGRAM.search(start) else None


def _of_log(lines: Sequence[str]) -> HistoryFormat | None:
    """Return the kind of log that more of the lines look like."""
    of_whatsapp = sum(whatsapp.match_header(line) is not None for line in lines)
    of_irc = sum(irc.looks_like(line) for line in lines)
    if of_whatsapp == of_irc == 0:
        return None
    return HistoryFormat.WHATSAPP if of_whatsapp >= of_irc else HistoryFormat.IRC
