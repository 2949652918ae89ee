"""WhatsApp's text export: `01/01/19, 11:25 - Ann: Hello` (Android) or `[01/01/19, 11:25:00] Ann: Hello` (iOS).

- Which of day and month comes first is worked out from all dates of the file (see `is_day_first`), so that it is read
  twice. Times are in the options' zone. A line whose date does not exist continues the message before it.
- The name ends at the first colon and space: a name with `: ` in it is cut there. Without one, at the first colon, if
  that is not within a time or an address (`Ann:.`). A line without a name is a notice ("You were added"), no message.
- Users are known by the name that the exporting phone shows, chats by the file's name (`WhatsApp Chat with Ann.txt`).
- A message's id is its day, a digest of its first line, and which of that day's lines of that text it is. So another
  export of the same chat repeats it, also one of the latest messages alone (WhatsApp exports 40,000 at most), or from
  which others were deleted since: the line's number would change with them.
- What the phone wrote in place of a file is known in English only; in other languages it stays as text.
- Direction marks that WhatsApp puts around names and before texts are removed.
"""

import re
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import Final

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.messages import Attachment, AttachmentKind, InboundMessage, TextContent
from agentbus.workers.importers.port import NOT_EXPORTED, HistoryFormat
from agentbus.workers.importers.source import Source
from agentbus.workers.importers.values import fit_id, fit_name, position_id
from agentbus.workers.importers.whatsapp_dates import WrittenDate, is_day_first, to_date

FORMAT: Final = HistoryFormat.WHATSAPP

_MARKS: Final = "\u200e\u200f\u202a\u202b\u202c\u2066\u2067\u2068\u2069"
_MOMENT: Final = (
    r"(?P<first>\d{4}|\d{1,2})[./-](?P<second>\d{1,2})[./-](?P<third>\d{4}|\d{1,2}),?\s{1,2}"
    r"(?P<hour>\d{1,2})[:.](?P<minute>\d\d)(?:[:.](?P<second_of_minute>\d\d))?"
    r"(?:\s?(?P<half>[AaPp])\.?\s?[Mm]\.?)?"
)
_ANDROID: Final = re.compile(rf"{_MOMENT} [-\u2013] (?P<rest>.*)", re.DOTALL)
_IOS: Final = re.compile(rf"\[{_MOMENT}\] (?P<rest>.*)", re.DOTALL)
_TIGHT: Final = re.compile(r"(?P<name>[^:]+):(?!//)(?P<text>\S.*)?", re.DOTALL)
_WITHIN_TIME: Final = re.compile(r"\d:\d")
_FILE_NAME: Final = re.compile(r"WhatsApp Chat (?:with|-) (?P<chat>.+?)(?: ?\(\d+\))?")

_OMITTED: Final = re.compile(r"<Media omitted>|\u200e(?P<kind>image|video|GIF|audio|sticker|document) omitted")
_ATTACHED_IOS: Final = re.compile(r"[\u200e ]{0,2}<attached: (?P<name>[^>\n]{1,255})>")
_ATTACHED_ANDROID: Final = re.compile(r"\u200e?(?P<name>[^\n]{1,246}\.\w{1,8}) \(file attached\)(?:\n|$)")
_OMITTED_KINDS: Final = {
    "image": AttachmentKind.IMAGE,
    "video": AttachmentKind.VIDEO,
    "GIF": AttachmentKind.VIDEO,
    "audio": AttachmentKind.AUDIO,
    "sticker": AttachmentKind.STICKER,
}
_KINDS_BY_ENDING: Final = {
    **dict.fromkeys(("jpg", "jpeg", "png", "heic"), AttachmentKind.IMAGE),
    **dict.fromkeys(("mp4", "mov", "3gp"), AttachmentKind.VIDEO),
    **dict.fromkeys(("opus", "ogg", "m4a", "mp3", "aac"), AttachmentKind.AUDIO),
    "webp": AttachmentKind.STICKER,
}


@dataclass(slots=True)
class _Draft:
    """A message whose further lines are still to come."""

    number: int
    id: str
    sent_at: datetime
    name: str
    text: list[str] = field(default_factory=list)


class _Same:
    """Tells apart what was written alike within a day: a minute is all that many exports tell of the time."""

    def __init__(self) -> None:
        self._day: date | None = None
        self._seen: Counter[str] = Counter()

    def id_of(self, line: str, day: date) -> str:
        if day != self._day:
            self._day, self._seen = day, Counter()
        once = position_id("said", day.isoformat(), line)
        self._seen[once] += 1
        times = self._seen[once]
        return once if times == 1 else f"{once}:{times}"


def read(source: Source) -> Generator[InboundMessage, None, None]:
    """Yield the messages, line by line. Bytes that are not UTF-8 become U+FFFD."""
    chat = fit_id(source.options.chat or _chat_in(source.title))
    day_first = is_day_first(_dates(source), source.options.day_first)
    draft: _Draft | None = None
    same = _Same()
    for number, line in source.lines():
        header = match_header(line)
        sent_at = _sent_at(header, source, day_first=day_first) if header else None
        if header and sent_at:
            if draft:
                yield _finish(source, chat, draft)
            said = _spoken(header["rest"])
            draft = _Draft(number, same.id_of(line, sent_at.date()), sent_at, said[0], [said[1]]) if said else None
        elif draft:
            draft.text.append(line)
            continue
        if draft is None:
            source.skip()
    if draft:
        yield _finish(source, chat, draft)


def match_header(line: str) -> re.Match[str] | None:
    """Match the first line of a message or notice."""
    line = line.lstrip(_MARKS)
    return _IOS.fullmatch(line) if line.startswith("[") else _ANDROID.fullmatch(line)


def _dates(source: Source) -> Iterator[WrittenDate]:
    for _, line in source.lines():
        if header := match_header(line):
            yield WrittenDate(header["first"], header["second"], header["third"])


def _sent_at(header: re.Match[str], source: Source, *, day_first: bool) -> datetime | None:
    day = to_date(WrittenDate(header["first"], header["second"], header["third"]), day_first=day_first)
    hour, half = int(header["hour"]), (header["half"] or "").lower()
    if half and hour <= 12:
        hour = hour % 12 + (12 if half == "p" else 0)
    try:
        clock = time(hour, int(header["minute"]), int(header["second_of_minute"] or 0))
    except ValueError:
        return None
    return datetime.combine(day, clock, source.options.zone) if day else None


def _spoken(rest: str) -> tuple[str, str] | None:
    """Return name and text, or None for a notice. A quote left open tells of one: `created group "A: B"`."""
    name, colon, text = rest.partition(": ")
    if not colon:
        tight = _TIGHT.fullmatch(rest)
        if tight is None or _WITHIN_TIME.match(rest, max(tight.end("name") - 1, 0)):
            return None
        name, text = tight["name"], tight["text"] or ""
    name = name.strip(_MARKS + " \u202f\u00a0")
    opened = name.count('"') % 2 or name.count("“") != name.count("”")
    return None if not name or opened else (name, text)


def _finish(source: Source, chat: str, draft: _Draft) -> InboundMessage:
    text, attachments = _without_attachment("\n".join(draft.text))
    with source.at(f"line {draft.number}"):
        return InboundMessage(
            address=Address(
                platform=Platform.WHATSAPP, account=source.options.account, chat=chat, user=fit_id(draft.name)
            ),
            message_id=draft.id,
            sent_at=draft.sent_at,
            sender_name=fit_name(draft.name),
            content=TextContent(text=text, attachments=attachments),
        )


def _without_attachment(text: str) -> tuple[str, tuple[Attachment, ...]]:
    """Take what stands for a file out of the text."""
    if omitted := _OMITTED.fullmatch(text):
        kind = _OMITTED_KINDS.get(omitted["kind"], AttachmentKind.FILE)
        return "", (Attachment(kind=kind, uri=NOT_EXPORTED),)
    attached = _ATTACHED_ANDROID.match(text) or _ATTACHED_IOS.search(text)
    if attached is None:
        return text.lstrip(_MARKS), ()
    name = attached["name"]
    kind = _KINDS_BY_ENDING.get(name.rpartition(".")[2].lower(), AttachmentKind.FILE)
    rest = text[: attached.start()] + text[attached.end() :]
    return rest.lstrip(_MARKS), (Attachment(kind=kind, uri=name, name=name),)


def _chat_in(title: str) -> str:
    named = _FILE_NAME.fullmatch(title)
    return named["chat"] if named else title
