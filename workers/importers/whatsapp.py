"""WhatsApp's text export: `01/01/19, 11:25 - Ann: Hello` (Android) or `[01/01/19, 11:25:00] Ann: Hello` (iOS), in any
language whose way of writing a moment is known (see `whatsapp_headers`).

- All headers of an export are written in one form, that of the first: a line in another form was pasted, and belongs to
  the message that it stands in. So does a line whose moment does not exist.
- Which of day and month comes first, and which calendar it is, is worked out from all dates of the file (see
  `convention_of`), so that it is read twice. Times are in the options' zone.
- Users are known by the name that the exporting phone shows, chats by the file's name (`WhatsApp Chat with Ann.txt`).
- A line without a name is a notice ("You were added"), no message; of iPhones, which put a name before each, one that
  they marked and that is about who is named, or about a call.
- A message's id is a digest of its first line, and which line of that text it is. So another export of the same chat
  repeats it, also one of the latest messages alone (WhatsApp exports 40,000 at most), or from which others were deleted
  since. One that was edited or deleted between two exports is another message in the later.
- A message that was edited is followed by an edit to what it says, one that was deleted by its deletion: at the same
  time, as the export does not say when.
- Direction marks that WhatsApp puts around names and before texts are removed.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, tzinfo
from typing import Final

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.messages import DeleteContent, EditContent, InboundMessage, TextContent
from agentbus.workers.importers.port import Blank, Entry, HistoryFormat, Notice, Reader, Said
from agentbus.workers.importers.source import REFUSALS, Source
from agentbus.workers.importers.values import ContentIds, fit_id, fit_name
from agentbus.workers.importers.whatsapp_content import (
    content_of,
    is_first_notice,
    is_notice,
    is_written_by_one,
    name_and_text,
)
from agentbus.workers.importers.whatsapp_dates import Convention, WrittenDate, convention_of, to_date
from agentbus.workers.importers.whatsapp_headers import Form, Header, header_in

__all__ = ["FORMAT", "header_in", "read"]

FORMAT: Final = HistoryFormat.WHATSAPP

_FILE_NAME: Final = re.compile(r"WhatsApp Chat (?:with|-) (?P<chat>.+?)(?: ?\(\d+\))?")
_FOUNDED: Final = 2009
"""The year of the first chats on WhatsApp."""

_OF_IPHONES: Final = "bracket"
_MOST_PEOPLE: Final = 10_000
_SAY: Final = {True: "--month-first", False: "--day-first"}
_MAX_TEXT: Final = 1_048_576
"""Characters of a message that are kept: it is too long by then, and will be refused."""


@dataclass(slots=True)
class _Draft:
    """A message whose further lines are still to come."""

    number: int
    id: str
    sent_at: datetime
    name: str
    text: list[str]
    lines: int = 1
    size: int = 0

    def add(self, line: str) -> None:
        self.lines += 1
        if self.size <= _MAX_TEXT:
            self.text.append(line)
            self.size += len(line)


@dataclass(slots=True)
class _Chat:
    """A chat being read: what was found out about all of it, and what is under way."""

    source: Source
    form: Form | None
    dates: Convention
    zone: tzinfo
    id: str
    people: set[str] | None = None
    """The names under which somebody wrote, of an iPhone's export, which has others too."""
    name: str | None = None
    """The chat's own name, once a notice has told it."""
    ids: ContentIds = field(default_factory=ContentIds)
    draft: _Draft | None = None
    notice: int = 0
    """Lines of the notice that is under way."""

    def begins(self, line: str) -> tuple[Header, datetime] | None:
        """Return the header that a line is, with its moment; None if it goes on with what is before it."""
        header = header_in(line)
        if header is None or header.form != self.form or header.time is None:
            return None
        day = to_date(header.date, day_first=self.dates.day_first, buddhist=self.dates.buddhist)
        return (header, datetime.combine(day, header.time, self.zone)) if day else None

    def begin(self, number: int, line: str, header: Header, sent_at: datetime) -> Iterator[Entry]:
        """End what is under way, and begin what a header begins."""
        yield from self.end()
        said = name_and_text(header.rest)
        if said and is_first_notice(said[1]):
            self.name = said[0]
        if said is None or is_notice(*said, self.name, self.people):
            self.notice = 1
        else:
            self.draft = _Draft(number, self.ids.next(line), sent_at, said[0], [said[1]])

    def go_on(self, number: int, line: str) -> Iterator[Entry]:
        """Take up a line that begins nothing."""
        if self.draft:
            self.draft.add(line)
        elif self.notice:
            self.notice += 1
        elif not line.strip():
            yield Blank()
        else:
            yield self.source.not_understood(f"line {number}", "before the first message")

    def end(self) -> Iterator[Entry]:
        """Yield the message or notice under way."""
        draft, notice = self.draft, self.notice
        self.draft, self.notice = None, 0
        if notice:
            yield Notice(notice)
        if draft is None:
            return
        try:
            found = list(self._messages(draft))
        except REFUSALS as error:
            yield self.source.not_understood(f"line {draft.number}", error, draft.lines)
            return
        for place, message in enumerate(found):
            yield Said(message, draft.lines if place == 0 else 0)

    def _messages(self, draft: _Draft) -> Iterator[InboundMessage]:
        content = content_of("\n".join(draft.text))
        said = InboundMessage(
            address=Address(
                platform=Platform.WHATSAPP, account=self.source.options.account, chat=self.id, user=fit_id(draft.name)
            ),
            message_id=draft.id,
            sent_at=draft.sent_at,
            sender_name=fit_name(draft.name),
            content=TextContent(text=content.text, attachments=content.attachments),
        )
        yield said
        user = said.address.user
        if content.edited:
            edit = EditContent(target=draft.id, target_user=user, text=content.text, attachments=content.attachments)
            yield said.model_copy(update={"message_id": f"{draft.id}:edited", "content": edit})
        if content.deleted:
            deletion = DeleteContent(target=draft.id, target_user=user)
            yield said.model_copy(update={"message_id": f"{draft.id}:deleted", "content": deletion})


def read(source: Source) -> Reader:
    """Yield what the lines are, message by message. Bytes that are not UTF-8 become U+FFFD."""
    chat = _survey(source)
    for number, line in source.lines():
        if begun := chat.begins(line):
            yield from chat.begin(number, line, *begun)
        else:
            yield from chat.go_on(number, line)
    yield from chat.end()


def _survey(source: Source) -> _Chat:
    """Look at all headers of a file, and find out what they don't say each."""
    form: Form | None = None
    people: set[str] = set()

    def dates() -> Iterator[WrittenDate]:
        nonlocal form
        for _, line in source.lines():
            header = header_in(line)
            form = form or (header.form if header else None)
            if header and header.form == form:
                _note_writer(people, header)
                yield header.date

    now = source.options.now
    found = convention_of(dates(), source.options.day_first, now.date())
    if date.min < found.latest and found.latest.year < _FOUNDED:
        raise source.unreadable(f"its years ({found.latest.year}) are of a calendar that is not known")
    chat = _Chat(source, form, found, UTC, fit_id(source.options.chat or _chat_in(source.title)))
    # Of names without end none is told from another.
    chat.people = people if form and form.kind == _OF_IPHONES and len(people) < _MOST_PEOPLE else None
    if found.guessed:
        order = "the day before the month" if found.day_first else "the month before the day"
        source.remark(f"no date tells which order it is: read as {order}; {_SAY[found.day_first]} says otherwise")
    if found.buddhist:
        source.remark("years of the Buddhist calendar: 543 were taken off")
    # Of a chat that was over before today the zone makes no difference to whether it is still to come.
    latest = _latest(chat) if found.latest >= now.date() else None
    chat.zone = source.zone(latest)
    return chat


def _note_writer(people: set[str], header: Header) -> None:
    said = name_and_text(header.rest) if header.form.kind == _OF_IPHONES and len(people) < _MOST_PEOPLE else None
    if said and said[0] not in people and is_written_by_one(said[1]):
        people.add(said[0])


def _latest(chat: _Chat) -> datetime | None:
    begun = (chat.begins(line) for _, line in chat.source.lines())
    return max((found[1].replace(tzinfo=None) for found in begun if found), default=None)


def _chat_in(title: str) -> str:
    named = _FILE_NAME.fullmatch(title)
    return named["chat"] if named else title
