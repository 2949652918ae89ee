"""Slack exports: a zip, or the folder unpacked from it, with one folder per channel and one JSON file per day.

Source: Slack's help page "How to read Slack data exports", and the message events of its API.

- Ids are Slack's: a channel's from `channels.json` (or `groups.json`, `mpims.json`, `dms.json`), else its folder's
  name.
- A message's id is its `ts`. Replies carry their thread's `ts` as thread; the message a thread starts from does not, as
  it did not when it came.
- Text is Slack's own markup as it stands (`<@U1>`, `&lt;`).
- The export holds the last text of an edited message only, so that there are no edits.
- Reactions follow their message, with its time: the export does not say when they came.
- Within a channel messages come by `ts`; channels one after another, by name of their folder.
"""

from collections.abc import Generator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pydantic import BaseModel, Field

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.messages import Attachment, InboundMessage, ReactionContent, TextContent
from agentbus.workers.importers.port import NOT_EXPORTED, UNKNOWN_USER, HistoryFormat
from agentbus.workers.importers.slack_files import CHANNEL_LISTS, USERS, SlackFiles, open_export
from agentbus.workers.importers.source import Source
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
    profile: _Profile = _Profile()

    @property
    def shown(self) -> str | None:
        """The name people see."""
        return self.profile.display_name or self.profile.real_name or self.real_name or self.name


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


class _Preview(BaseModel):
    fallback: str | None = None


class _Reaction(BaseModel):
    name: str
    users: tuple[str, ...] = ()


class _Message(BaseModel):
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
    text: str | None = None
    files: tuple[_File | None, ...] | None = None
    attachments: tuple[_Preview, ...] | None = None
    reactions: tuple[_Reaction, ...] | None = None

    @property
    def order(self) -> tuple[int, int]:
        """Seconds and microseconds of `ts`."""
        seconds, _, fraction = self.ts.partition(".")
        return int(seconds), int(fraction.ljust(6, "0"))


def read(source: Source) -> Generator[InboundMessage, None, None]:
    """Yield the messages, channel by channel; one day of a channel is held in memory."""
    with open_export(source.path) as export:
        names = _names(source, export)
        ids = _channel_ids(source, export)
        for folder, name in export.day_files():
            yield from _read_day(source, names, fit_id(ids.get(folder, folder)), export, name)


def _names(source: Source, export: SlackFiles) -> dict[str, str | None]:
    names = {}
    for place, entry in _entries(source, export, USERS):
        with source.at(place):
            user = _User.model_validate(entry)
        names[user.id] = user.shown
    return names


def _channel_ids(source: Source, export: SlackFiles) -> dict[str, str]:
    ids = {}
    for name in CHANNEL_LISTS:
        for place, entry in _entries(source, export, name):
            with source.at(place):
                channel = _Channel.model_validate(entry)
            ids[channel.name or channel.id] = channel.id
    return ids


def _entries(source: Source, export: SlackFiles, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the entries of a file that holds a list, each with where it is; none if there is no such file."""
    loaded = source.json(export.read(name), name) if name in export.names else None
    if not isinstance(loaded, list | None):
        raise source.unreadable("not a list, as it is in a Slack export", name)
    for number, entry in enumerate(loaded or (), 1):
        yield f"{name}, entry {number}", entry


def _read_day(
    source: Source, names: dict[str, str | None], chat: str, export: SlackFiles, name: str
) -> Iterator[InboundMessage]:
    day = []
    for place, entry in _entries(source, export, name):
        with source.at(place):
            day.append((place, _Message.model_validate(entry)))
    for place, message in sorted(day, key=lambda item: item[1].order):
        if message.type != "message" or message.subtype not in _SPOKEN:
            source.skip()
            continue
        with source.at(place):
            messages = list(_convert(source, names, chat, message))
        yield from messages


def _convert(source: Source, names: dict[str, str | None], chat: str, message: _Message) -> Iterator[InboundMessage]:
    user = message.user or message.bot_id or message.username or UNKNOWN_USER
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
        content=TextContent(text=_text(message), attachments=tuple(map(_attachment, message.files or ()))),
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
    """Return what was said; of a bot that says all of it in attachments, what these fall back to."""
    text = message.text or "\n".join(preview.fallback for preview in message.attachments or () if preview.fallback)
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
