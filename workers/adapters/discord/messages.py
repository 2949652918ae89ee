"""What Discord's gateway dispatches, and what the history of a channel holds.

Source: https://discord.com/developers/docs/events/gateway-events (Receive Events) and .../resources/message (types of
messages; forwarded ones).

- A message is known by its id, an edit by that and by when it was made: a link's preview, which comes as an update too,
  is none.
- A reaction has no id: it is known by the session of the gateway and its number there, which are the same when it is
  dispatched again.
- A deletion does not say whose message it was, and a reaction seldom does.
- A thread is a channel of its own, and here a chat of its own: what is dispatched does not say which channel it is in.
- A file's address is `discord:attachment/<channel>/<message>/<file>`: its link lasts a day, and its message gives
  another one. A sticker's address is that of its picture.
- What our own bot says and does is ignored, and so is what other bots and webhooks say, unless the account wants it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.messages import (
    Attachment,
    AttachmentKind,
    Content,
    DeleteContent,
    EditContent,
    InboundMessage,
    Membership,
    MembershipContent,
    ReactionContent,
    Spoken,
    TextContent,
)
from agentbus.workers.adapters.discord.payloads import Body, Deleted, Message, Reacted
from agentbus.workers.adapters.discord.snowflakes import snowflake_time
from agentbus.workers.adapters.parsing import UNKNOWN, attached, understood, unsupported
from agentbus.workers.adapters.port import Received
from agentbus.workers.importers.values import fit_id, fit_name, kind_for

SAID: Final = "MESSAGE_CREATE"

_SAYS: Final = frozenset({0, 19, 20, 23})
"""Types of messages that somebody wrote: plain, an answer, and what a bot says to a command."""
_ANSWER: Final = 19
_CAME: Final = 7
_ADDED: Final = 1
_TAKEN_OUT: Final = 2
_FORWARD: Final = 1
_STICKERS: Final = {1: "png", 2: "png", 3: "json", 4: "gif"}
_STICKERS_AT: Final = "https://cdn.discordapp.com/stickers"
_OF_MESSAGES: Final = "MESSAGE_"


@dataclass(frozen=True, slots=True)
class Told:
    """One dispatch being read."""

    event: str
    data: Mapping[str, Any]
    known: str
    """What it is known by: the session and its number in it."""
    bot: str
    """The id of our own bot."""
    at: datetime
    """When it came."""


class DiscordMessages:
    """What one bot is told. Pure."""

    def __init__(self, name: str, *, bots: bool = False) -> None:
        self._name = name
        self._bots = bots
        self._readers: dict[str, Callable[[Told], Iterator[InboundMessage]]] = {
            SAID: self._said,
            "MESSAGE_UPDATE": self._edited,
            "MESSAGE_DELETE": self._deleted,
            "MESSAGE_DELETE_BULK": self._deleted,
            "MESSAGE_REACTION_ADD": self._reacted,
            "MESSAGE_REACTION_REMOVE": self._reacted,
        }

    def read(self, told: Told) -> Received:
        """Return what a dispatch says: one about a message is never passed over, others are none of a session's."""
        if not told.event.startswith(_OF_MESSAGES) or _is_own(told):
            return Received(ignored=1)
        reader = self._readers.get(told.event, self._not_known)
        messages = tuple(understood(lambda: reader(told), lambda: self._kept(told)))
        return Received(messages=messages, ignored=0 if messages else 1)

    # Kinds of dispatches

    def _said(self, told: Told) -> Iterator[InboundMessage]:
        message = Message.model_validate(told.data)
        if self._passed_over(message):
            return
        content = self._content(message)
        if content is None:
            yield self._kept(told)
            return
        yield self._of(message, message.id, snowflake_time(message.id), content)

    def _edited(self, told: Told) -> Iterator[InboundMessage]:
        if told.data.get("edited_timestamp") is None:
            return
        message = Message.model_validate(told.data)
        if self._passed_over(message):
            return
        content = EditContent(
            target=fit_id(message.id), text=message.content, attachments=attached(_attachments(message, message))
        )
        when = message.edited_timestamp or ""
        yield self._of(message, f"{message.id}:edit:{when}", datetime.fromisoformat(when), content)

    def _deleted(self, told: Told) -> Iterator[InboundMessage]:
        gone = Deleted.model_validate(told.data)
        ids = (*([gone.id] if gone.id is not None else []), *gone.ids)
        if not ids:
            raise ValueError("it names no message")
        for one in ids:
            content = DeleteContent(target=fit_id(one))
            yield _made(self._at(gone.channel_id, UNKNOWN), f"{one}:delete", told.at, None, content)

    def _reacted(self, told: Told) -> Iterator[InboundMessage]:
        one = Reacted.model_validate(told.data)
        content = ReactionContent(
            target=fit_id(one.message_id),
            target_user=fit_id(one.message_author_id) if one.message_author_id else None,
            reaction=fit_id(one.emoji.named),
            removed=told.event.endswith("_REMOVE"),
        )
        yield _made(self._at(one.channel_id, one.user_id), f"reaction:{told.known}", told.at, one.name, content)

    def _not_known(self, told: Told) -> Iterator[InboundMessage]:
        yield self._kept(told)

    # Parts of them

    def _passed_over(self, message: Message) -> bool:
        return message.author.bot and not self._bots

    @staticmethod
    def _content(message: Message) -> Spoken | None:
        """Return what a message says; None if it says nothing that is understood."""
        if message.type == _CAME:
            return MembershipContent(change=Membership.JOINED, members=(fit_id(message.author.id),))
        if message.type in {_ADDED, _TAKEN_OUT}:
            change = Membership.JOINED if message.type == _ADDED else Membership.LEFT
            return MembershipContent(change=change, members=tuple(fit_id(one.id) for one in message.mentions[:255]))
        if message.type not in _SAYS:
            return None
        about = message.message_reference
        bodies = [one.message for one in message.message_snapshots] if about and about.type == _FORWARD else []
        files = attached(file for body in (message, *bodies) for file in _attachments(message, body))
        forwarded = [f"[forwarded]\n{body.content}".rstrip() for body in bodies]
        text = "\n".join(filter(None, [message.content, *forwarded]))
        if not text and not files:
            return None
        answered = about.message_id if about and message.type == _ANSWER else None
        return TextContent(text=text, attachments=files, reply_to=fit_id(answered) if answered else None)

    def _of(self, message: Message, known: str, at: datetime, content: Content) -> InboundMessage:
        return _made(self._at(message.channel_id, message.author.id), known, at, message.name, content)

    def _at(self, chat: str, user: str) -> Address:
        return Address(platform=Platform.DISCORD, account=self._name, chat=fit_id(chat), user=fit_id(user))

    def _kept(self, told: Told) -> InboundMessage:
        """Keep what is not understood, where it happened as far as it says."""
        data = told.data
        author = data.get("author")
        user = (author.get("id") if isinstance(author, dict) else None) or data.get("user_id")
        known = data.get("id") if told.event == SAID else None
        what = f"message {data.get('type')}" if told.event == SAID else told.event.lower()
        return unsupported(
            what,
            dict(data),
            address=self._at(str(data.get("channel_id") or UNKNOWN), str(user or UNKNOWN)),
            sent_at=told.at,
            message_id=known if isinstance(known, str) and known else f"event:{told.known}",
        )


def _is_own(told: Told) -> bool:
    author = told.data.get("author")
    by = author.get("id") if isinstance(author, dict) else told.data.get("user_id")
    return by is not None and by == told.bot


def _made(address: Address, known: str, at: datetime, name: str | None, content: Content) -> InboundMessage:
    return InboundMessage(
        address=address, message_id=fit_id(known), sent_at=at, sender_name=fit_name(name), content=content
    )


def _attachments(message: Message, body: Body) -> Iterator[Attachment]:
    for file in body.attachments:
        yield Attachment(
            kind=kind_for(file.content_type),
            uri=f"discord:attachment/{message.channel_id}/{message.id}/{file.id}",
            media_type=fit_name(file.content_type),
            name=fit_name(file.filename),
            size=file.size,
        )
    for sticker in body.sticker_items:
        kind = _STICKERS.get(sticker.format_type, "png")
        yield Attachment(
            kind=AttachmentKind.STICKER, uri=f"{_STICKERS_AT}/{sticker.id}.{kind}", name=fit_name(sticker.name)
        )
