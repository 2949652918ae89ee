"""Slack exports: a zip, or the folder unpacked from it, with one folder per channel and one JSON file per day.

Source: Slack's help page "How to read Slack data exports", and the message events of its API.

- Ids are Slack's: a channel's from `channels.json` (or `groups.json`, `mpims.json`, `dms.json`), else its folder's
  name.
- A message's id is its `ts`. Replies carry their thread's `ts` as thread; the message a thread starts from does not, as
  it did not when it came.
- Text is Slack's own markup as it stands (`<@U1>`, `&lt;`). Of a bot that says all of it in blocks or attachments it is
  theirs; a comment on a file is by who made it.
- The export holds the last text of an edited message only, so that there are no edits.
- Reactions follow their message, with its time: the export does not say when they came.
- Within a channel messages come by `ts`; channels one after another, by name of their folder; of an Enterprise Grid,
  team by team after what they share.
- An entry or a file that can't be read is passed over and told.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pydantic import BaseModel, Field

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.messages import Attachment, InboundMessage, ReactionContent, TextContent
from agentbus.workers.importers.port import (
    NOT_EXPORTED,
    UNKNOWN_USER,
    Entry,
    HistoryFormat,
    HistoryUnreadable,
    Notice,
    NotUnderstood,
    Reader,
    Said,
)
from agentbus.workers.importers.slack_files import CHANNEL_LISTS, USER_LISTS, DayFile, SlackFiles, open_export
from agentbus.workers.importers.slack_texts import Texts, text_of
from agentbus.workers.importers.source import REFUSALS, Source
from agentbus.workers.importers.values import fit_id, fit_name, kind_for

FORMAT: Final = HistoryFormat.SLACK

_SPOKEN: Final = frozenset(
    {None, "bot_message", "file_comment", "file_share", "me_message", "slackbot_response", "thread_broadcast"}
)
"""The subtypes of what somebody said; the others tell of joins, topics, pins and the like."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class _Profile(BaseModel):
    display_name: str | None = None
    real_name: str | None = None
    name: str | None = None


class _User(_Profile):
    id: str
    profile: _Profile | None = None

    @property
    def shown(self) -> str | None:
        """The name people see."""
        profile = self.profile or _Profile()
        return profile.display_name or profile.real_name or self.real_name or self.name


class _Channel(BaseModel):
    id: str
    name: str | None = None


class _File(BaseModel):
    name: str | None = None
    title: str | None = None
    mimetype: str | None = None
    size: int | None = None
    url_private: str | None = None
    permalink: str | None = None


class _Comment(BaseModel):
    user: str | None = None
    comment: str = ""


class _Reaction(BaseModel):
    name: str
    users: tuple[str, ...] = ()


class _Message(Texts):
    """What is read of a message; the rest is passed over."""

    type: str = "message"
    subtype: str | None = None
    ts: str = Field(pattern=r"^[0-9]{1,11}(\.[0-9]{1,6})?$")
    thread_ts: str | None = None
    user: str | None = None
    bot_id: str | None = None
    username: str | None = None
    user_profile: _Profile | None = None
    bot_profile: _Profile | None = None
    files: tuple[_File | None, ...] | None = None
    file: _File | None = None
    comment: _Comment | None = None
    reactions: tuple[_Reaction, ...] | None = None

    @property
    def order(self) -> tuple[int, int]:
        """Seconds and microseconds of `ts`."""
        seconds, _, fraction = self.ts.partition(".")
        return int(seconds), int(fraction.ljust(6, "0"))


@dataclass(frozen=True, slots=True)
class _Export:
    """An export being read."""

    source: Source
    files: SlackFiles
    names: dict[str, str | None]
    """People's names by their ids."""
    ids: dict[str, str]
    """Channels' ids by their folders."""

    def day(self, file: DayFile) -> Reader:
        """Yield what the entries of a channel's day are; messages come last, by their time."""
        chat = fit_id(self.ids.get(file.team + file.folder) or self.ids.get(file.folder, file.folder))
        day = []
        for place, entry in _entries(self.source, self.files, file.name):
            try:
                message = _Message.model_validate(entry)
                if message.type == "message" and message.subtype in _SPOKEN:
                    day.append((message.order, list(_convert(self.source, self.names, chat, message))))
                else:
                    yield Notice()
            except REFUSALS as error:
                yield self.source.not_understood(place, error)
        for _, messages in sorted(day, key=lambda one: one[0]):
            yield from (Said(message, int(number == 0)) for number, message in enumerate(messages))


def read(source: Source) -> Reader:
    """Yield what the entries are, channel by channel; one day of a channel is held in memory."""
    with open_export(source.path) as files:
        export = _Export(source, files, {}, {})
        yield from _people(export)
        yield from _channels(export)
        for file in files.day_files():
            try:
                yield from export.day(file)
            except HistoryUnreadable as error:
                yield _damaged(source, file.name, error)


def _people(export: _Export) -> Iterator[Entry]:
    """Note the names of all people; yield what of their lists is not understood."""
    for _, name in export.files.lists(USER_LISTS):
        try:
            for place, entry in _entries(export.source, export.files, name):
                try:
                    user = _User.model_validate(entry)
                    export.names[user.id] = user.shown
                except REFUSALS as error:
                    yield export.source.not_understood(place, error)
        except HistoryUnreadable as error:
            yield _damaged(export.source, name, error)


def _channels(export: _Export) -> Iterator[Entry]:
    """Note the ids of all channels; yield what of their lists is not understood."""
    for team, name in export.files.lists(CHANNEL_LISTS):
        try:
            for place, entry in _entries(export.source, export.files, name):
                try:
                    channel = _Channel.model_validate(entry)
                    export.ids[team + (channel.name or channel.id)] = channel.id
                except REFUSALS as error:
                    yield export.source.not_understood(place, error)
        except HistoryUnreadable as error:
            yield _damaged(export.source, name, error)


def _damaged(source: Source, name: str, error: HistoryUnreadable) -> NotUnderstood:
    return source.not_understood(name, str(error).removeprefix(f"{source.path}, "))


def _entries(source: Source, files: SlackFiles, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the entries of a file that holds a list, each with where it is. Raises HistoryUnreadable for another."""
    loaded = source.json(files.read(name), name)
    if not isinstance(loaded, list | None):
        raise source.unreadable("not a list, as it is in a Slack export", name)
    for number, entry in enumerate(loaded or (), 1):
        yield f"{name}, entry {number}", entry


def _convert(source: Source, names: dict[str, str | None], chat: str, message: _Message) -> Iterator[InboundMessage]:
    comment = message.comment or _Comment()
    user = message.user or comment.user or message.bot_id or message.username or UNKNOWN_USER
    files = (*(message.files or ()), *((message.file,) if message.file else ()))
    seconds, micros = message.order
    spoken = InboundMessage(
        address=Address(
            platform=Platform.SLACK,
            account=source.options.account,
            chat=chat,
            thread=message.thread_ts if message.thread_ts != message.ts else None,
            user=fit_id(user),
        ),
        message_id=message.ts,
        sent_at=_EPOCH + timedelta(seconds=seconds, microseconds=micros),
        sender_name=fit_name(names.get(user) or _name_in(message)),
        content=TextContent(text=_text(message), attachments=tuple(map(_attachment, files))),
    )
    yield spoken
    yield from _reactions(message, spoken, names)


def _reactions(message: _Message, spoken: InboundMessage, names: dict[str, str | None]) -> Iterator[InboundMessage]:
    for reaction in message.reactions or ():
        for reactor in reaction.users:
            yield InboundMessage(
                address=spoken.address.model_copy(update={"user": fit_id(reactor)}),
                message_id=fit_id(f"{message.ts}:reaction:{reactor}:{reaction.name}"),
                sent_at=spoken.sent_at,
                sender_name=fit_name(names.get(reactor)),
                content=ReactionContent(
                    target=message.ts, target_user=spoken.address.user, reaction=fit_id(reaction.name)
                ),
            )


def _name_in(message: _Message) -> str | None:
    profile = message.user_profile or message.bot_profile or _Profile()
    return message.username or profile.display_name or profile.real_name or profile.name


def _text(message: _Message) -> str:
    """Return what was said."""
    if message.comment and message.comment.comment:
        return message.comment.comment
    text = text_of(message)
    return f"/me {text}" if message.subtype == "me_message" else text


def _attachment(file: _File | None) -> Attachment:
    """Describe a file; one that Slack has deleted or hidden has no address any more."""
    file = file or _File()
    return Attachment(
        kind=kind_for(file.mimetype),
        uri=file.url_private or file.permalink or NOT_EXPORTED,
        media_type=fit_name(file.mimetype),
        name=fit_name(file.name or file.title),
        size=file.size,
    )
