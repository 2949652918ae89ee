"""Chat messages: what comes in from a channel, what goes out to one, what a session keeps."""

from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Final, Literal

from pydantic import Field

from agentbus.contracts.address import Address
from agentbus.contracts.base import Contract, Id, Many, Name, Text, Timestamp, nothing
from agentbus.contracts.ids import InputId, MessageKey, SessionId, digest_of


class Role(StrEnum):
    """Who speaks."""

    USER = "user"
    """A person on a channel."""
    ASSISTANT = "assistant"
    """The bot or agent; its messages go out to the channel."""
    SYSTEM = "system"
    """Instructions and notices that no one typed."""
    TOOL = "tool"
    """The result of a tool that the agent called."""


class AttachmentKind(StrEnum):
    """What an attachment is, for whoever renders it."""

    IMAGE = "image"
    """A picture."""
    AUDIO = "audio"
    """Sound, a voice message for example."""
    VIDEO = "video"
    """A film."""
    FILE = "file"
    """Any other file."""
    LOCATION = "location"
    """A place; the uri is a `geo:` one (RFC 5870)."""
    STICKER = "sticker"
    """A sticker of the platform."""
    CONTACT = "contact"
    """Somebody's address; the uri is a `tel:` or `mailto:` one, the name is theirs."""


class Attachment(Contract):
    """Something that came with a message, by reference: its bytes never travel on the bus."""

    kind: AttachmentKind = AttachmentKind.FILE
    uri: str = Field(min_length=1, max_length=2048, description="Where the bytes are.")
    media_type: Name | None = Field(default=None, description="RFC 6838 media type, such as image/png.")
    name: Name | None = Field(default=None, description="File name shown to people.")
    size: int | None = Field(default=None, ge=0, description="Bytes.")


Attachments = Annotated[Many[Attachment], Field(max_length=64)]


class TextContent(Contract):
    """Something said: text, attachments or both."""

    kind: Literal["text"] = "text"
    text: Text = ""
    attachments: Attachments = ()
    reply_to: Id | None = Field(default=None, description="The platform's id of the message replied to.")
    album: Id | None = Field(
        default=None,
        exclude_if=nothing,
        description="The platform's id of the album that it is a part of: several messages that were sent as one.",
    )


class CommandContent(Contract):
    """A chat command such as `/start now`: name `start`, arguments `now`."""

    kind: Literal["command"] = "command"
    name: Id
    arguments: Text = ""


class ButtonContent(Contract):
    """A button, or an entry of a menu, that somebody pressed."""

    kind: Literal["button"] = "button"
    data: Text = Field(default="", description="What whoever made the button wrote into it.")
    label: Name | None = Field(default=None, description="What it says, as far as the platform tells.")
    target: Id | None = Field(default=None, description="The platform's id of the message that it is a part of.")


class Membership(StrEnum):
    """What has become of somebody in a chat."""

    JOINED = "joined"
    """They are in it now."""
    LEFT = "left"
    """They went, or were taken out of it: they don't read along any more."""


class MembershipContent(Contract):
    """Somebody joined a chat, or left it; the message's sender, unless `members` says who."""

    kind: Literal["membership"] = "membership"
    change: Membership
    members: Annotated[Many[Id], Field(max_length=255)] = Field(
        default=(), description="Who, as the platform names them; none: the sender."
    )


MAX_RAW_LENGTH: Final = 524_288
"""Longest raw text of what a channel did not understand, in characters."""


class UnsupportedContent(Contract):
    """Something that a channel sent and its adapter does not understand; nothing of it is lost."""

    kind: Literal["unsupported"] = "unsupported"
    what: Name = Field(description="The platform's word for it, as far as there is one: `poll`.")
    raw: str = Field(
        max_length=MAX_RAW_LENGTH, description="It, as the platform sent it: JSON, of which the beginning if it is cut."
    )
    cut: bool = Field(default=False, description="Whether it was longer, and `raw` is the beginning of it.")

    @classmethod
    def of(cls, what: str, raw: str) -> "UnsupportedContent":
        """Keep `raw`, or as much of it as there is room for."""
        return cls(what=what, raw=raw[:MAX_RAW_LENGTH], cut=len(raw) > MAX_RAW_LENGTH)


_TARGET_USER: Final = (
    "Who wrote that message, as the platform names them: it is their conversation that changes. Without it, that of "
    "whoever sends this."
)


class EditContent(Contract):
    """An earlier message now says something else."""

    kind: Literal["edit"] = "edit"
    target: Id = Field(description="The platform's id of the edited message.")
    target_user: Id | None = Field(default=None, description=_TARGET_USER)
    text: Text = ""
    attachments: Attachments = ()


class DeleteContent(Contract):
    """An earlier message was taken back."""

    kind: Literal["delete"] = "delete"
    target: Id = Field(description="The platform's id of the deleted message.")
    target_user: Id | None = Field(default=None, description=_TARGET_USER)


ALL_REACTIONS: Final = "*"
"""In the place of a reaction that was taken back: all that somebody had to a message."""


class ReactionContent(Contract):
    """Someone reacted to an earlier message, or took the reaction back; or, by ALL_REACTIONS, each of theirs."""

    kind: Literal["reaction"] = "reaction"
    target: Id = Field(description="The platform's id of the message reacted to.")
    target_user: Id | None = Field(default=None, description=_TARGET_USER)
    reaction: Id = Field(description="An emoji, or the platform's name of one.")
    removed: bool = False


Spoken = TextContent | CommandContent | ButtonContent | MembershipContent | UnsupportedContent
"""What a session's history has entries of; all other contents are about such an entry."""

SpokenContent = Annotated[Spoken, Field(discriminator="kind")]
Content = Annotated[Spoken | EditContent | DeleteContent | ReactionContent, Field(discriminator="kind")]


def as_line(content: Spoken) -> str:
    """Return a content as one line, or more of what somebody wrote, for people to read."""
    match content:
        case TextContent():
            return content.text
        case CommandContent():
            return f"/{content.name} {content.arguments}".rstrip()
        case ButtonContent():
            return content.label or content.data
        case MembershipContent():
            return " ".join([content.change, *content.members])
        case UnsupportedContent():
            return f"({content.what})"


def message_key_for(address: Address, message_id: str) -> MessageKey:
    """Return the identity of a message: platforms promise unique message ids within an account's chat only."""
    return MessageKey(digest_of((address.platform, address.account, address.chat, message_id)))


def inbound_ids(address: Address, message_id: str) -> tuple[InputId, ...]:
    """Return the idempotency keys that something said in a channel may have: as a text, and as a command."""
    return tuple(_inbound_id(address, kind, message_id) for kind in ("text", "command"))


def _inbound_id(address: Address, kind: str, message_id: str) -> InputId:
    parts = ("message", address.platform, address.account, address.chat, kind, message_id)
    return InputId(digest_of(parts))


@lru_cache(maxsize=1024)  # It is asked for four times on a message's way.
def said_key(session: SessionId, message_id: str) -> InputId:
    """Return the key of a message that a command brings to a session: the same for every command that brings it."""
    return InputId(digest_of(("append", session, message_id)))


class InboundMessage(Contract):
    """A message from a channel. It needs nothing but what the platform told."""

    kind: Literal["message"] = "message"
    address: Address
    message_id: Id = Field(description="The platform's id of this message (or of this edit, deletion, reaction).")
    sent_at: Timestamp = Field(description="When it was sent, by the platform's clock; with a time zone.")
    sender_name: Name | None = Field(default=None, description="The sender's name as shown to people.")
    content: Content

    @property
    def place(self) -> Address:
        """The address whose conversation this belongs to: its own, or that of the message that it is about."""
        content = self.content
        if isinstance(content, Spoken) or content.target_user is None:
            return self.address
        return self.address.model_copy(update={"user": content.target_user})

    @property
    def key(self) -> MessageKey:
        """The identity of this message within its conversation."""
        return message_key_for(self.address, self.message_id)

    def input_id(self) -> InputId:
        """Return the idempotency key: the same for every delivery of the same message, whoever publishes it."""
        return _inbound_id(self.address, self.content.kind, self.message_id)


class SessionMessage(Contract):
    """A message as a session's history keeps it."""

    key: MessageKey
    message_id: Id
    role: Role
    address: Address | None = Field(
        default=None,
        description="Where it came from; for an outgoing message, where it goes. Replies never go anywhere else.",
    )
    author: Name | None = Field(default=None, description="The author's name as shown to people.")
    sent_at: Timestamp
    content: SpokenContent


class OutboundMessage(Contract):
    """What a bot says: appended to the session, announced as a reply, delivered by the channel's adapter."""

    role: Role = Role.ASSISTANT
    address: Address | None = Field(
        default=None, description="Where it goes; without one, to where the session's last message came from."
    )
    message_id: Id | None = Field(default=None, description="Its id if it has one; by default the command's id.")
    author: Name | None = None
    sent_at: Timestamp | None = Field(default=None, description="By default when it is decided.")
    content: SpokenContent
