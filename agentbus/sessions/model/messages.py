"""A message as users of the session API see it."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.history import HistoryMessage
from agentbus.contracts.messages import (
    Attachment,
    AttachmentKind,
    ButtonContent,
    CommandContent,
    MembershipContent,
    OutboundMessage,
    Role,
    Spoken,
    TextContent,
    UnsupportedContent,
    as_line,
)
from agentbus.sessions.model.types import MessageType, platform_of

_ATTACHED: Final = {MessageType(kind): kind for kind in AttachmentKind}


def to_utc(moment: datetime) -> datetime:
    """Return `moment` in UTC; without a time zone it is taken as local time. Raises ValueError if it is no datetime."""
    if not isinstance(moment, datetime):
        raise ValueError(f"{moment!r} is no datetime")
    return moment.astimezone(UTC)


@dataclass(slots=True, kw_only=True)
class Message:
    """A message of a session.

    `content` is the text; for an image, a file or a place its address. `timestamp` without a time zone is taken as
    local time and kept in UTC. `id` is an idempotency key: the same message added twice to a session is there once,
    whichever calls add it. (What a channel sends has the platform's ids, which count for themselves.)
    """

    content: str
    user_id: str | None = None
    id: str = field(default_factory=lambda: uuid4().hex)
    timestamp: datetime = field(default_factory=lambda: datetime.now(UTC))
    message_type: MessageType = MessageType.TEXT
    platform: Platform | None = None
    chat_id: str | None = None
    role: Role | None = None

    def __post_init__(self) -> None:
        """Bring what was given into its form. Raises ValueError or ConfigurationError for an unknown kind."""
        self.message_type = MessageType(self.message_type)
        self.platform = platform_of(self.platform) if self.platform else None
        self.role = Role(self.role) if self.role else self._role()
        self.timestamp = to_utc(self.timestamp)

    def _role(self) -> Role:
        if self.message_type is MessageType.SYSTEM:
            return Role.SYSTEM
        return Role.USER if self.user_id else Role.ASSISTANT

    def outbound(self, at: Address | None = None) -> OutboundMessage:
        """Return it as it is sent to the session's owner; `at` is where the session's last message came from.

        Raises pydantic's ValidationError for what is not valid.
        """
        return OutboundMessage(
            role=self.role or Role.USER,
            address=self._address(at),
            message_id=self.id,
            author=self.user_id,
            sent_at=self.timestamp,
            content=self._content(),
        )

    def _address(self, at: Address | None) -> Address | None:
        """Return the message's own address; None: that of the session's last message is its address too."""
        if at and self.platform in (None, at.platform) and self.chat_id in (None, at.chat):
            spoken = self.role is Role.USER and self.user_id not in (None, at.user)
            return Address(**{**at.model_dump(), "user": self.user_id}) if spoken else None
        if self.platform and self.chat_id and self.user_id:
            return Address(platform=self.platform, chat=self.chat_id, user=self.user_id)
        return None

    def _content(self) -> Spoken:
        if self.message_type is MessageType.COMMAND:
            name, _, arguments = self.content.removeprefix("/").partition(" ")
            return CommandContent(name=name, arguments=arguments)
        if kind := _ATTACHED.get(self.message_type):
            return TextContent(attachments=(Attachment(kind=kind, uri=self.content),))
        if self.message_type is MessageType.BUTTON:
            return ButtonContent(data=self.content)
        if self.message_type is MessageType.UNSUPPORTED:
            return UnsupportedContent(what=MessageType.UNSUPPORTED, raw=self.content)
        return TextContent(text=self.content)

    @classmethod
    def of(cls, shown: HistoryMessage) -> "Message":
        """Return a message of a session's history; a deleted one has no content."""
        kept = shown.message
        kind, content = _spoken(kept.role, kept.content)
        address = kept.address
        by_person = kept.role is Role.USER
        return cls(
            id=kept.message_id,
            content=content,
            user_id=kept.author if address is None or not by_person else address.user,
            timestamp=kept.sent_at,
            message_type=kind,
            platform=address.platform if address else None,
            chat_id=address.chat if address else None,
            role=kept.role,
        )


def _spoken(role: Role, content: Spoken) -> tuple[MessageType, str]:
    match content:
        case CommandContent():
            return MessageType.COMMAND, as_line(content)
        case ButtonContent():
            return MessageType.BUTTON, content.data
        case MembershipContent():
            return MessageType.SYSTEM, as_line(content)
        case UnsupportedContent():
            return MessageType.UNSUPPORTED, content.raw
        case TextContent() if content.attachments and not content.text:
            first = content.attachments[0]
            return MessageType(first.kind), first.uri
        case TextContent():
            return MessageType.SYSTEM if role is Role.SYSTEM else MessageType.TEXT, content.text
