"""Telling by its content what kind of history a text is, and naming what it is if it is one that is not read."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from agentbus.workers.importers import irc, whatsapp
from agentbus.workers.importers.port import HistoryFormat

HEAD_BYTES: Final = 262_144
"""So much of a file is looked at."""

_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")
_JSONL: Final = re.compile(r'"(?:specversion"\s*:\s*"|content"\s*:\s*\{)')
_TELEGRAM: Final = re.compile(r'"(?:messages|chats|personal_information|frequent_contacts|about)"\s*:\s*[\[{"]')


@dataclass(frozen=True, slots=True)
class Foreign:
    """A kind of file that people have, and that is not read."""

    name: str
    advice: str
    is_it: Callable[[str], bool]
    """Tells it by the first characters of the file, from the first that is no blank on."""


def _has(*patterns: str) -> Callable[[str], bool]:
    compiled = [re.compile(pattern) for pattern in patterns]
    return lambda head: all(pattern.search(head) for pattern in compiled)


def _begins(*beginnings: str) -> Callable[[str], bool]:
    return lambda head: head.startswith(beginnings)


FOREIGN: Final = (
    Foreign(
        "a Discord export (DiscordChatExporter)",
        "no format of Discord's is",
        _has(r'^\{\s*"guild"\s*:\s*\{', r'"channel"\s*:\s*\{'),
    ),
    Foreign(
        "a Facebook or Instagram export",
        "no format of Meta's is but WhatsApp's",
        _has(r'^\{\s*"participants"\s*:\s*\[', r'"(?:sender_name|thread_path|timestamp_ms)"'),
    ),
    Foreign("an export of Signal", "none of Signal's is", _has(r'^\{\s*"version"\s*:', r'"conversationId"')),
    Foreign(
        "a list of Telegram messages",
        "export the chat with Telegram Desktop as machine-readable JSON, and give its result.json",
        _has(r"^\[\s*\{", r'"(?:date_unixtime|text_entities|update_id)"\s*:'),
    ),
    Foreign(
        "a day of a Slack export",
        "give the whole export, its zip or its folder",
        _has(r"^\[\s*\{", r'"ts"\s*:\s*"\d{9,11}\.\d+"'),
    ),
    Foreign(
        "a page of HTML",
        "export as JSON (Telegram Desktop: machine-readable JSON) or text",
        lambda head: head[:15].lower().startswith(("<!doctype html", "<html")),
    ),
    Foreign("a chat of LINE", "no format of LINE's is", _begins("[LINE]")),
    Foreign("a SQLite database", "export the chat in the app that it belongs to", _begins("SQLite format 3\0")),
    Foreign("compressed by gzip", "unpack it first", _begins("\x1f\ufffd", "\x1f\x8b")),
    Foreign("a RAR or 7z archive", "unpack it first", _begins("Rar!", "7z\ufffd\ufffd'", "7z\xbc\xaf'")),
)
"""What is refused by name."""


def text_of(head: bytes) -> str:
    """Return the beginning of a file as text, whatever bytes it has."""
    if head[:2] in _UTF16:
        return head.decode("utf-16", errors="replace")
    return head.decode("utf-8-sig", errors="replace")


def format_of(head: str) -> HistoryFormat | Foreign | None:
    """Return the format of a file that begins so, or what it is that is not read; None if there is no telling.

    An empty file is JSON lines with none.
    """
    start = head.lstrip()
    if not start:
        return HistoryFormat.JSONL
    if found := next((foreign for foreign in FOREIGN if foreign.is_it(start)), None):
        return found
    if found_log := _of_log(head.split("\n")):
        return found_log
    if not start.startswith("{"):
        return None
    if _JSONL.search(start.partition("\n")[0]):
        return HistoryFormat.JSONL
    return HistoryFormat.TELEGRAM if _TELEGRAM.search(start) else None


def _of_log(lines: Sequence[str]) -> HistoryFormat | None:
    """Return the kind of log that more of the lines look like."""
    of_whatsapp = sum(whatsapp.header_in(line) is not None for line in lines)
    of_irc = sum(irc.looks_like(line) for line in lines)
    if of_whatsapp == of_irc == 0:
        return None
    return HistoryFormat.WHATSAPP if of_whatsapp >= of_irc else HistoryFormat.IRC
