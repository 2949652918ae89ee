"""Telegram Desktop's export in JSON: `result.json`, of one chat or of a whole account.

Source: https://core.telegram.org/import-export, and what Telegram Desktop writes.

- Ids of chats and users become those that the Bot API uses (`user7` is 7, basic group 7 is -7, supergroup or channel 7
  is -1000000000007): the export counts each kind of chat from 1, so that two chats could share an id.
- A chat without an id is named by its title, else by the file or its folder; a user by the name; a message by its
  position.
- The export holds the last text of an edited message only, so that there are no edits.
- Reactions follow their message, as far as the export names who reacted.
- Times without a Unix time (`date`, and those of reactions) are local ones: the options' zone.
"""

from collections.abc import Generator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, Field

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.messages import Attachment, AttachmentKind, InboundMessage, ReactionContent, TextContent
from agentbus.workers.importers.port import NOT_EXPORTED, UNKNOWN_USER, HistoryFormat
from agentbus.workers.importers.source import Source
from agentbus.workers.importers.values import fit_id, fit_name, kind_for, position_id

FORMAT: Final = HistoryFormat.TELEGRAM
FILE_NAME: Final = "result.json"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST: Final = 50_000_000_000
"""The Unix time of a day in 3554, and its opposite before 1970: beyond them something is wrong."""

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


class _Entity(BaseModel):
    text: str = ""


class _Message(BaseModel):
    """What is read of a message; the rest is passed over."""

    from_: str | None = Field(default=None, alias="from")
    id: int | None = None
    type: str = "message"
    date: datetime | None = None
    date_unixtime: int | None = Field(default=None, ge=-_LATEST, le=_LATEST)
    from_id: str | int | None = None
    text: str | list[str | _Entity] = ""
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


def read(source: Source) -> Generator[InboundMessage, None, None]:
    """Yield the messages, chat by chat; the file is held in memory."""
    loaded = source.json(_file(source.path).read_bytes())
    if loaded is None:
        return
    with source.at("top level"):
        export = _Export.model_validate(loaded)
    if export.messages is None and export.chats is None and export.left_chats is None:
        raise source.unreadable("not a Telegram export: neither messages nor chats in it; export again, with messages")
    for number, chat in enumerate(_chats(export), 1):
        chat_id = fit_id(_chat_id(source, chat))
        for position, entry in enumerate(chat.messages or (), 1):
            with source.at(f"chat {number} ({chat.name or chat_id}), message {position}"):
                messages = _read_entry(source, chat_id, f"{number}.{position}", entry)
            if not messages:
                source.skip()
            yield from messages


def _file(path: Path) -> Path:
    return path / FILE_NAME if path.is_dir() else path


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


def _read_entry(source: Source, chat: str, place: str, entry: Any) -> list[InboundMessage]:
    """Return the message and the reactions to it; nothing for a service message (a join, a call, a new title)."""
    message = _Message.model_validate(entry)
    if message.type != "message":
        return []
    message_id = str(message.id) if message.id is not None else position_id(source.title, place, repr(entry))
    address = Address(
        platform=Platform.TELEGRAM,
        account=source.options.account,
        chat=chat,
        user=_user(message.from_id, message.from_),
    )
    spoken = InboundMessage(
        address=address,
        message_id=message_id,
        sent_at=_sent_at(message, source),
        sender_name=fit_name(message.from_),
        content=TextContent(text=_text(message), attachments=_attachments(message), reply_to=_reply_to(message)),
    )
    return [spoken, *_reactions(message, spoken, source)]


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
    return message.date if message.date.tzinfo else message.date.replace(tzinfo=source.options.zone)


def _text(message: _Message) -> str:
    parts = [message.text] if isinstance(message.text, str) else message.text
    return "".join(part if isinstance(part, str) else part.text for part in parts)


def _reply_to(message: _Message) -> str | None:
    """Return the id of the message replied to, unless that is in another chat."""
    here = message.reply_to_message_id is not None and message.reply_to_peer_id is None
    return str(message.reply_to_message_id) if here else None


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


def _reactions(message: _Message, spoken: InboundMessage, source: Source) -> Iterator[InboundMessage]:
    for reaction in message.reactions:
        name = fit_id(reaction.emoji or reaction.document_id or reaction.type)
        for reactor in reaction.recent:
            user = _user(reactor.from_id, reactor.from_)
            moment = reactor.date or spoken.sent_at
            yield InboundMessage(
                address=spoken.address.model_copy(update={"user": user}),
                message_id=fit_id(f"{spoken.message_id}:reaction:{user}:{name}"),
                sent_at=moment if moment.tzinfo else moment.replace(tzinfo=source.options.zone),
                sender_name=fit_name(reactor.from_),
                content=ReactionContent(target=spoken.message_id, target_user=spoken.address.user, reaction=name),
            )
