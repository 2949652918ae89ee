"""What is read of what the Bot API sends; the rest is passed over. Source: https://core.telegram.org/bots/api."""

from typing import Any

from pydantic import BaseModel, Field

from agentbus.contracts.base import Many


class User(BaseModel):
    """Somebody, or a bot."""

    id: int
    first_name: str = ""
    last_name: str = ""
    username: str = ""

    @property
    def name(self) -> str:
        """The name as people see it."""
        return f"{self.first_name} {self.last_name}".strip() or self.username


class Chat(BaseModel):
    """A chat, or a channel that speaks as one."""

    id: int
    title: str = ""
    first_name: str = ""
    last_name: str = ""


class Entity(BaseModel):
    """A part of a text that is more than text; places are counted in UTF-16 code units."""

    type: str
    offset: int = Field(ge=0)
    length: int = Field(ge=0)
    url: str | None = None


class File(BaseModel):
    """Any kind of file."""

    file_id: str = Field(min_length=1, max_length=1024)
    file_size: int | None = Field(default=None, ge=0)
    mime_type: str | None = None
    file_name: str | None = None


class Location(BaseModel):
    """A place."""

    latitude: float = Field(ge=-90, le=90)
    longitude: float = Field(ge=-180, le=180)


class Venue(BaseModel):
    """A place with a name."""

    title: str = ""
    address: str = ""


class Contact(BaseModel):
    """Somebody's telephone number."""

    phone_number: str
    first_name: str = ""
    last_name: str = ""


class Origin(BaseModel):
    """Whom a forwarded message is from."""

    sender_user: User | None = None
    sender_user_name: str | None = None
    sender_chat: Chat | None = None
    chat: Chat | None = None

    @property
    def name(self) -> str:
        """Their name."""
        chat = self.sender_chat or self.chat
        return (self.sender_user.name if self.sender_user else self.sender_user_name) or (chat.title if chat else "")


class Replied(BaseModel):
    """The message that was replied to."""

    message_id: int


class Message(BaseModel):
    """A message of any kind."""

    message_id: int
    date: int
    chat: Chat
    from_: User | None = Field(default=None, alias="from")
    sender_chat: Chat | None = None
    message_thread_id: int | None = None
    is_topic_message: bool = False
    reply_to_message: Replied | None = None
    forward_origin: Origin | None = None
    edit_date: int | None = None
    media_group_id: str | None = None
    text: str | None = None
    entities: Many[Entity] = ()
    caption: str | None = None
    caption_entities: Many[Entity] = ()
    photo: Many[File] = ()
    document: File | None = None
    animation: File | None = None
    video: File | None = None
    video_note: File | None = None
    voice: File | None = None
    audio: File | None = None
    sticker: File | None = None
    location: Location | None = None
    venue: Venue | None = None
    contact: Contact | None = None
    new_chat_members: Many[User] = Field(default=(), max_length=1000)
    left_chat_member: User | None = None


class Pressed(BaseModel):
    """The message that a pressed button is a part of; it may be too old for more."""

    message_id: int
    chat: Chat
    message_thread_id: int | None = None
    is_topic_message: bool = False
    reply_markup: Any = None


class Callback(BaseModel):
    """A button of an inline keyboard was pressed."""

    id: str = Field(min_length=1)
    from_: User = Field(alias="from")
    message: Pressed | None = None
    data: str = ""


class ReactionType(BaseModel):
    """A reaction."""

    type: str
    emoji: str | None = None
    custom_emoji_id: str | None = None

    @property
    def name(self) -> str:
        """The emoji, or what stands for it."""
        return self.emoji or self.custom_emoji_id or self.type


class ReactionUpdated(BaseModel):
    """Somebody's reactions to a message are others now."""

    chat: Chat
    message_id: int
    user: User | None = None
    actor_chat: Chat | None = None
    date: int
    old_reaction: Many[ReactionType] = Field(max_length=64)
    new_reaction: Many[ReactionType] = Field(max_length=64)


class ChatMember(BaseModel):
    """Somebody in a chat, or not in it any more."""

    status: str
    user: User
    is_member: bool = True

    @property
    def there(self) -> bool:
        """Whether they are in the chat."""
        return self.status in {"creator", "administrator", "member"} or (self.status == "restricted" and self.is_member)


class MemberUpdated(BaseModel):
    """What somebody is in a chat has changed."""

    chat: Chat
    from_: User = Field(alias="from")
    date: int
    old_chat_member: ChatMember
    new_chat_member: ChatMember
