"""Telegram Desktop's export in JSON: `result.json`, of one chat or of a whole account.

Source: https://core.telegram.org/import-export, and what Telegram Desktop writes.

- Ids of chats and users become those that the Bot API uses (`user7` is 7, basic group 7 is -7, supergroup or channel 7
  is -1000000000007): the export counts each kind of chat from 1, so that two chats could share an id.
- A chat without an id is named by its title, else by the file or its folder; a user by the name; a message by a digest
  of what the export says of it.
- What has no text of its own gets one: polls, contacts, games, dice, places, to-do lists. A link's address stands
  behind its words, who said first what is forwarded before it.
- Messages in a forum's topic have the topic's first message as their thread.
- The export holds the last text of an edited message only, so that there are no edits.
- Reactions follow their message, as far as the export names who reacted.
- Times without a Unix time (`date`, and those of reactions) are local ones: the options' zone, else that in which the
  message's own `date` and Unix time are the same.
- An entry that can't be read is passed over and told, and so is one that Telegram Desktop could not export.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any, Final

from pydantic import BaseModel, Field

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.messages import Attachment, AttachmentKind, InboundMessage, ReactionContent, TextContent
from agentbus.workers.importers.port import NOT_EXPORTED, UNKNOWN_USER, Entry, HistoryFormat, Notice, Reader, Said
from agentbus.workers.importers.source import REFUSALS, Source, told
from agentbus.workers.importers.telegram_texts import Texts, text_of
from agentbus.workers.importers.values import ContentIds, fit_id, fit_name, kind_for

FORMAT: Final = HistoryFormat.TELEGRAM
FILE_NAME: Final = "result.json"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST: Final = 50_000_000_000
"""The Unix time of a day in 3554, and its opposite before 1970: beyond them something is wrong."""

_FURTHEST: Final = timedelta(hours=14)
_QUARTER: Final = timedelta(minutes=15)
_CHANNEL_BASE: Final = -1_000_000_000_000
_KINDS: Final = {
    "sticker": AttachmentKind.STICKER,
    "video_file": AttachmentKind.VIDEO,
    "video_message": AttachmentKind.VIDEO,
    "animation": AttachmentKind.VIDEO,
    "voice_message": AttachmentKind.AUDIO,
    "audio_file": AttachmentKind.AUDIO,
}


class _Place(BaseModel):
    latitude: float
    longitude: float


class _Reactor(BaseModel):
    from_: str | None = Field(default=None, alias="from")
    from_id: str | int | None = None
    date: datetime | None = None


class _Reaction(BaseModel):
    type: str = "emoji"
    emoji: str | None = None
    document_id: str | None = None
    recent: tuple[_Reactor, ...] = ()


class _Message(Texts):
    """What is read of a message; the rest is passed over."""

    from_: str | None = Field(default=None, alias="from")
    id: int | None = None
    type: str = "message"
    date: datetime | None = None
    date_unixtime: int | None = Field(default=None, ge=-_LATEST, le=_LATEST)
    from_id: str | int | None = None
    action: str | None = None
    reply_to_message_id: int | None = None
    reply_to_peer_id: str | int | None = None
    photo: str | None = None
    photo_file_size: int | None = None
    file: str | None = None
    file_name: str | None = None
    file_size: int | None = None
    media_type: str | None = None
    mime_type: str | None = None
    location_information: _Place | None = None
    reactions: tuple[_Reaction, ...] = ()


class _Chat(BaseModel):
    name: str | None = None
    type: str = ""
    id: int | None = None
    messages: list[Any] | None = None


class _ChatList(BaseModel):
    list: tuple[_Chat, ...] = ()


class _Export(_Chat):
    """The file: the export of one chat is that chat."""

    chats: _ChatList | None = None
    left_chats: _ChatList | None = None


@dataclass(slots=True)
class _Reading:
    """A chat being read."""

    source: Source
    chat: str
    topics: dict[int, str] = field(default_factory=dict)
    """The topic of each message that is in one."""
    ids: ContentIds = field(default_factory=ContentIds)

    def entries(self, entry: Any, where: str) -> Iterator[Entry]:
        """Yield what an entry of the export is: a message, and the reactions to it, or a notice."""
        try:
            message = _Message.model_validate(entry)
            topic = self._topic(message)
            said = [] if message.type != "message" else self._messages(message, topic, entry)
        except REFUSALS as error:
            yield self.source.not_understood(where, error)
            return
        if message.type == "unsupported":
            yield self.source.not_understood(where, "Telegram Desktop could not export it (unsupported)")
        elif not said:
            yield Notice()
        for place, one in enumerate(said):
            yield Said(one, int(place == 0))

    def _topic(self, message: _Message) -> str | None:
        """Return the topic that a message is in, as what it answers to is in it, or began it."""
        if message.id is None:
            return None
        before = message.reply_to_message_id if message.reply_to_peer_id is None else None
        topic = str(message.id) if message.action == "topic_created" else self.topics.get(before or 0)
        if topic:
            self.topics[message.id] = topic
        return topic

    def _messages(self, message: _Message, topic: str | None, entry: Any) -> list[InboundMessage]:
        address = Address(
            platform=Platform.TELEGRAM,
            account=self.source.options.account,
            chat=self.chat,
            thread=topic,
            user=_user(message.from_id, message.from_),
        )
        spoken = InboundMessage(
            address=address,
            message_id=str(message.id) if message.id is not None else self.ids.next(repr(entry)),
            sent_at=_sent_at(message, self.source),
            sender_name=fit_name(message.from_),
            content=TextContent(
                text=text_of(message), attachments=_attachments(message), reply_to=_reply_to(message, topic)
            ),
        )
        return [spoken, *_reactions(message, spoken, _zone(message, self.source))]


def read(source: Source) -> Reader:
    """Yield what the entries are, chat by chat; the file is held in memory."""
    loaded = source.json(source.place.read())
    if loaded is None:
        return
    try:
        export = _Export.model_validate(loaded)
    except REFUSALS as error:
        raise source.unreadable(told(error), "top level") from None
    if export.messages is None and export.chats is None and export.left_chats is None:
        raise source.unreadable("not a Telegram export: neither messages nor chats in it; export again, with messages")
    for number, chat in enumerate(_chats(export), 1):
        reading = _Reading(source, fit_id(_chat_id(source, chat)))
        for position, entry in enumerate(chat.messages or (), 1):
            yield from reading.entries(entry, f"chat {number} ({chat.name or reading.chat}), message {position}")


def _chats(export: _Export) -> tuple[_Chat, ...]:
    """Return the chats: that of an export of one; those of an account, and those it has left."""
    if export.messages is not None:
        return (export,)
    return tuple(chat for chats in (export.chats, export.left_chats) if chats for chat in chats.list)


def _chat_id(source: Source, chat: _Chat) -> str:
    if isinstance(chat, _Export) and source.options.chat:
        return source.options.chat
    if chat.id is None:
        return chat.name or source.title
    if chat.id > 0 and chat.type.endswith(("_supergroup", "_channel")):
        return str(_CHANNEL_BASE - chat.id)
    return str(-chat.id if chat.id > 0 and chat.type.endswith("_group") else chat.id)


def _user(from_id: str | int | None, name: str | None) -> str:
    if from_id is None:
        return fit_id(name or UNKNOWN_USER)
    bare = str(from_id).removeprefix("user")
    return fit_id(bare if bare.isdecimal() else str(from_id))


def _sent_at(message: _Message, source: Source) -> datetime:
    if message.date_unixtime is not None:
        return _EPOCH + timedelta(seconds=message.date_unixtime)
    if message.date is None:
        raise ValueError("it has neither date_unixtime nor date")
    return message.date if message.date.tzinfo else message.date.replace(tzinfo=source.options.zone or UTC)


def _zone(message: _Message, source: Source) -> tzinfo:
    """Return the zone of the times at which others reacted to a message."""
    if source.options.zone or message.date is None or message.date.tzinfo or message.date_unixtime is None:
        return source.options.zone or UTC
    ahead = message.date.replace(tzinfo=UTC) - (_EPOCH + timedelta(seconds=message.date_unixtime))
    return timezone(ahead) if abs(ahead) <= _FURTHEST and not ahead % _QUARTER else UTC


def _reply_to(message: _Message, topic: str | None) -> str | None:
    """Return the id of the message replied to, unless that is in another chat, or began the topic."""
    here = message.reply_to_message_id is not None and message.reply_to_peer_id is None
    return str(message.reply_to_message_id) if here and str(message.reply_to_message_id) != topic else None


def _attachments(message: _Message) -> tuple[Attachment, ...]:
    found = []
    if message.photo:
        size = message.photo_file_size
        found.append(Attachment(kind=AttachmentKind.IMAGE, uri=_uri(message.photo), size=size))
    if message.file:
        found.append(
            Attachment(
                kind=_KINDS.get(message.media_type or "") or kind_for(message.mime_type),
                uri=_uri(message.file),
                media_type=fit_name(message.mime_type),
                name=fit_name(message.file_name),
                size=message.file_size,
            )
        )
    if place := message.location_information:
        found.append(Attachment(kind=AttachmentKind.LOCATION, uri=f"geo:{place.latitude},{place.longitude}"))
    return tuple(found)


def _uri(path: str) -> str:
    """Return the path within the export; instead of one the export may say `(File not included. ...)`."""
    return NOT_EXPORTED if path.startswith("(") and path.endswith(")") else path


def _reactions(message: _Message, spoken: InboundMessage, zone: tzinfo) -> Iterator[InboundMessage]:
    for reaction in message.reactions:
        name = fit_id(reaction.emoji or reaction.document_id or reaction.type)
        for reactor in reaction.recent:
            user = _user(reactor.from_id, reactor.from_)
            moment = reactor.date or spoken.sent_at
            yield InboundMessage(
                address=spoken.address.model_copy(update={"user": user}),
                message_id=fit_id(f"{spoken.message_id}:reaction:{user}:{name}"),
                sent_at=moment if moment.tzinfo else moment.replace(tzinfo=zone),
                sender_name=fit_name(reactor.from_),
                content=ReactionContent(target=spoken.message_id, target_user=spoken.address.user, reaction=name),
            )
