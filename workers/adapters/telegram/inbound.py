"""What Telegram's Bot API posts, or gives to whoever asks (`getUpdates`): updates.

Source: https://core.telegram.org/bots/api (Getting updates, setWebhook, Available types).

- The secret that was given to setWebhook comes with each request, as the header `X-Telegram-Bot-Api-Secret-Token`;
  nothing is signed. What is not answered by 2xx is posted again.
- A message is known by its id within its chat; an edit, a pressed button or a reaction by the update's, or its own.
- Whoever joins or leaves comes as a message of the group, as an update about the member, or as both: known by who, when
  and which of the two, so that it is one.
- The members of an album come as messages of their own, with the album's id.
- A reaction does not say whose message it is about: in a private chat, or where a conversation is a whole chat, that is
  known all the same.
- A file's address is `telegram:file/<file_id>`: getFile gives a link to it, with the bot's token.
- Deletions are not told to bots.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.messages import (
    Attachment,
    AttachmentKind,
    ButtonContent,
    CommandContent,
    Content,
    EditContent,
    InboundMessage,
    Membership,
    MembershipContent,
    ReactionContent,
    Spoken,
    TextContent,
)
from agentbus.workers.adapters.parsing import (
    UNKNOWN,
    attached,
    listed,
    loaded_object,
    moment,
    need_same,
    understood,
    unsupported,
)
from agentbus.workers.adapters.port import Inbound, Malformed, Received, Request, Unverified
from agentbus.workers.adapters.telegram.account import TelegramAccount
from agentbus.workers.adapters.telegram.payloads import (
    Callback,
    Chat,
    Entity,
    File,
    MemberUpdated,
    Message,
    ReactionUpdated,
    User,
)
from agentbus.workers.importers.values import fit_id, fit_name, kind_for

SECRET: Final = "x-telegram-bot-api-secret-token"  # noqa: S105 - the name of a header

_MESSAGES: Final = frozenset({"message", "channel_post"})
_EDITED: Final = frozenset({"edited_message", "edited_channel_post"})
_MEMBERS: Final = frozenset({"chat_member", "my_chat_member"})
_COMMAND: Final = re.compile(r"/([A-Za-z0-9_]{1,64})(?:@([A-Za-z0-9_]{1,64}))?")
_NOT_A_NUMBER: Final = re.compile(r"[^0-9+]")
_COMMON: Final = frozenset(
    {"message_id", "date", "chat", "from", "sender_chat", "message_thread_id", "is_topic_message"}
)
"""Fields that do not say what kind of message it is."""


@dataclass(frozen=True, slots=True)
class _Update:
    """An update being read."""

    id: int
    kind: str
    raw: Any
    whole: Mapping[str, Any]
    received_at: datetime


class TelegramInbound(Inbound):
    """What one bot is told."""

    def __init__(self, name: str, account: TelegramAccount) -> None:
        self._name = name
        self._secret = account.webhook_secret
        self._username = account.username.lower() if account.username else None
        self._readers: dict[str, Callable[[_Update], Iterator[InboundMessage]]] = {
            **dict.fromkeys(_MESSAGES, self._message),
            **dict.fromkeys(_EDITED, self._edited),
            **dict.fromkeys(_MEMBERS, self._member),
            "callback_query": self._pressed,
            "message_reaction": self._reacted,
        }

    def verify(self, request: Request) -> None:
        given = request.header(SECRET)
        if self._secret is None:
            raise Unverified("the account has no webhook_secret")
        need_same(given, self._secret)

    def parse(self, request: Request) -> Received:
        return self.read(loaded_object(request.body), request.received_at)

    def read(self, update: Mapping[str, Any], at: datetime) -> Received:
        """Return what an update says, as it was posted or asked for. Raises Malformed."""
        number = update.get("update_id")
        if type(number) is not int:
            raise Malformed("there is no update_id")
        kind = next((name for name in update if name != "update_id"), UNKNOWN)
        one = _Update(number, kind, update.get(kind), update, at)
        reader = self._readers.get(kind, self._not_known)
        return Received(messages=tuple(understood(lambda: reader(one), lambda: self._kept(one))))

    # Kinds of updates

    def _message(self, update: _Update) -> Iterator[InboundMessage]:
        message = Message.model_validate(update.raw)
        members = [(Membership.JOINED, user) for user in message.new_chat_members]
        members += [(Membership.LEFT, message.left_chat_member)] if message.left_chat_member else []
        address, at = self._address(message), moment(message.date)
        name = message.from_.name if message.from_ else message.chat.title
        if members:
            yield from (self._membership(address, at, name, change, user) for change, user in members)
            return
        content = self._said(message)
        if content is None:
            yield self._kept(update)
            return
        yield _made(address, str(message.message_id), at, name, content)

    def _edited(self, update: _Update) -> Iterator[InboundMessage]:
        message = Message.model_validate(update.raw)
        content = EditContent(
            target=str(message.message_id), text=_text(message), attachments=attached(_attachments(message))
        )
        known = f"{message.message_id}:edit:{update.id}"
        name = message.from_.name if message.from_ else message.chat.title
        yield _made(self._address(message), known, moment(message.edit_date or message.date), name, content)

    def _pressed(self, update: _Update) -> Iterator[InboundMessage]:
        pressed = Callback.model_validate(update.raw)
        message = pressed.message
        thread = message.message_thread_id if message and message.is_topic_message else None
        address = Address(
            platform=Platform.TELEGRAM,
            account=self._name,
            chat=str(message.chat.id if message else pressed.from_.id),
            thread=str(thread) if thread is not None else None,
            user=str(pressed.from_.id),
        )
        content = ButtonContent(
            data=pressed.data,
            label=fit_name(_label(message.reply_markup if message else None, pressed.data)),
            target=str(message.message_id) if message else None,
        )
        yield _made(address, f"callback:{pressed.id}", update.received_at, pressed.from_.name, content)

    def _reacted(self, update: _Update) -> Iterator[InboundMessage]:
        changed = ReactionUpdated.model_validate(update.raw)
        by = changed.user or changed.actor_chat
        address = self._at(changed.chat, str(by.id) if by else UNKNOWN)
        name = changed.user.name if changed.user else None
        before, now = ([one.name for one in side] for side in (changed.old_reaction, changed.new_reaction))
        changes = [(one, True) for one in before if one not in now] + [(one, False) for one in now if one not in before]
        for place, (reaction, removed) in enumerate(changes):
            content = ReactionContent(target=str(changed.message_id), reaction=fit_id(reaction), removed=removed)
            yield _made(address, f"reaction:{update.id}:{place}", moment(changed.date), name, content)

    def _member(self, update: _Update) -> Iterator[InboundMessage]:
        changed = MemberUpdated.model_validate(update.raw)
        before, now = changed.old_chat_member.there, changed.new_chat_member.there
        if before == now:
            yield self._kept(update)
            return
        address, user = self._at(changed.chat, str(changed.from_.id)), changed.new_chat_member.user
        change = Membership.JOINED if now else Membership.LEFT
        yield self._membership(address, moment(changed.date), changed.from_.name, change, user)

    def _not_known(self, update: _Update) -> Iterator[InboundMessage]:
        yield self._kept(update)

    # Parts of them

    def _said(self, message: Message) -> Spoken | None:
        """Return what a message says; None if it says nothing that is understood."""
        text, files = _text(message), attached(_attachments(message))
        if not text and not files:
            return None
        if not files and (command := self._command(message, text)):
            return command
        topic = str(message.message_thread_id) if message.is_topic_message else None
        replied = str(message.reply_to_message.message_id) if message.reply_to_message else None
        return TextContent(
            text=text,
            attachments=files,
            reply_to=replied if replied != topic else None,
            album=fit_id(message.media_group_id) if message.media_group_id else None,
        )

    def _command(self, message: Message, text: str) -> CommandContent | None:
        """Return the command that a text begins with, unless it is for another bot."""
        if not any(one.type == "bot_command" and not one.offset for one in message.entities):
            return None
        found = _COMMAND.match(text)
        if not found or (found[2] and self._username and found[2].lower() != self._username):
            return None
        return CommandContent(name=found[1], arguments=text[found.end() :].strip())

    def _address(self, message: Message) -> Address:
        writer = message.from_ or message.sender_chat or message.chat
        thread = message.message_thread_id if message.is_topic_message else None
        return self._at(message.chat, str(writer.id), str(thread) if thread is not None else None)

    def _at(self, chat: Chat, user: str, thread: str | None = None) -> Address:
        return Address(platform=Platform.TELEGRAM, account=self._name, chat=str(chat.id), thread=thread, user=user)

    @staticmethod
    def _membership(address: Address, at: datetime, name: str, change: Membership, user: User) -> InboundMessage:
        known = f"{change}:{user.id}:{int(at.timestamp())}"
        return _made(address, known, at, name, MembershipContent(change=change, members=(str(user.id),)))

    def _kept(self, update: _Update) -> InboundMessage:
        """Keep an update that is not understood, where it happened as far as it says."""
        raw = update.raw if isinstance(update.raw, dict) else {}
        message = raw.get("message")
        chat = _id_in(raw, "chat") or _id_in(message if isinstance(message, dict) else {}, "chat")
        user = _id_in(raw, "from") or _id_in(raw, "user") or _id_in(raw, "sender_chat") or chat or UNKNOWN
        address = Address(platform=Platform.TELEGRAM, account=self._name, chat=chat or user, user=user)
        said = [name for name in raw if name not in _COMMON] if update.kind in _MESSAGES else []
        what = said[0] if said else update.kind
        known = f"update:{update.id}"
        return unsupported(what, update.whole, address=address, sent_at=update.received_at, message_id=known)


def _made(address: Address, known: str, at: datetime, name: str | None, content: Content) -> InboundMessage:
    return InboundMessage(
        address=address, message_id=fit_id(known), sent_at=at, sender_name=fit_name(name), content=content
    )


def _text(message: Message) -> str:
    """Return the text or the caption: with links' addresses, whom it is from first, and a place's name."""
    text, entities = message.text or message.caption or "", message.entities or message.caption_entities
    forwarded = message.forward_origin.name if message.forward_origin else ""
    venue = message.venue
    lines = [f"[forwarded from {forwarded}]" if forwarded else "", _with_links(text, entities)]
    lines += [venue.title, venue.address] if venue else []
    return "\n".join(filter(None, lines))


def _with_links(text: str, entities: tuple[Entity, ...]) -> str:
    """Return a text with the address behind each link's words."""
    links = sorted((one.offset + one.length, one.url) for one in entities if one.type == "text_link" and one.url)
    if not links:
        return text
    raw = text.encode("utf-16-le", "surrogatepass")
    pieces, start = [], 0
    for end, url in links:
        pieces += [raw[2 * start : 2 * end], f" ({url})".encode("utf-16-le", "surrogatepass")]
        start = end
    return b"".join([*pieces, raw[2 * start :]]).decode("utf-16-le", "replace")


def _attachments(message: Message) -> Iterator[Attachment]:
    if message.photo:
        yield _file(message.photo[-1], AttachmentKind.IMAGE)
    for file, kind in (
        (message.animation, AttachmentKind.VIDEO),
        (message.video, AttachmentKind.VIDEO),
        (message.video_note, AttachmentKind.VIDEO),
        (message.voice, AttachmentKind.AUDIO),
        (message.audio, AttachmentKind.AUDIO),
        (message.sticker, AttachmentKind.STICKER),
    ):
        if file:
            yield _file(file, kind)
    if message.document and not message.animation:  # an animation comes as a document too, for older bots
        yield _file(message.document, kind_for(message.document.mime_type))
    if place := message.location:
        yield Attachment(kind=AttachmentKind.LOCATION, uri=f"geo:{place.latitude},{place.longitude}")
    if contact := message.contact:
        number = _NOT_A_NUMBER.sub("", contact.phone_number)
        name = fit_name(f"{contact.first_name} {contact.last_name}".strip())
        yield Attachment(kind=AttachmentKind.CONTACT, uri=f"tel:{number}", name=name)


def _file(file: File, kind: AttachmentKind) -> Attachment:
    return Attachment(
        kind=kind,
        uri=f"telegram:file/{file.file_id}",
        media_type=fit_name(file.mime_type),
        name=fit_name(file.file_name),
        size=file.file_size,
    )


def _label(markup: Any, data: str) -> str | None:
    """Return what the button says that `data` was written into."""
    rows = listed(markup.get("inline_keyboard")) if isinstance(markup, dict) else []
    buttons = (button for row in rows for button in listed(row) if isinstance(button, dict))
    return next((str(one.get("text")) for one in buttons if one.get("callback_data") == data), None)


def _id_in(raw: Mapping[str, Any], part: str) -> str | None:
    found = raw.get(part)
    number = found.get("id") if isinstance(found, dict) else None
    return str(number) if type(number) is int else None
