"""What is read of what Discord sends; the rest is passed over. Source: https://discord.com/developers/docs/resources."""

from typing import Any

from pydantic import BaseModel, Field

from agentbus.contracts.base import Many


class User(BaseModel):
    """Somebody, a bot, or what a webhook speaks as."""

    id: str = Field(min_length=1)
    username: str = ""
    global_name: str | None = None
    bot: bool = False


class Nick(BaseModel):
    """What somebody is called on a server."""

    nick: str | None = None


class Member(Nick):
    """Somebody on a server."""

    user: User


class File(BaseModel):
    """A file that came with a message."""

    id: str = Field(min_length=1)
    filename: str = ""
    content_type: str | None = None
    size: int | None = Field(default=None, ge=0)


class Sticker(BaseModel):
    """A sticker that came with a message."""

    id: str = Field(min_length=1)
    name: str = ""
    format_type: int = 1
    """1 PNG, 2 APNG, 3 Lottie, 4 GIF."""


class Reference(BaseModel):
    """Another message that one is about."""

    type: int = 0
    """0: it is answered; 1: it is forwarded."""
    message_id: str | None = None


class Body(BaseModel):
    """What a message says."""

    content: str = ""
    attachments: Many[File] = Field(default=(), max_length=1000)
    sticker_items: Many[Sticker] = Field(default=(), max_length=1000)


class Snapshot(BaseModel):
    """A message that was forwarded, as it was then."""

    message: Body


class Message(Body):
    """A message, as it is told or as history holds it: history does not say what its author is called there."""

    id: str = Field(min_length=1)
    channel_id: str = Field(min_length=1)
    type: int = 0
    author: User
    member: Nick | None = None
    edited_timestamp: str | None = None
    mentions: Many[User] = Field(default=(), max_length=1000)
    message_reference: Reference | None = None
    message_snapshots: Many[Snapshot] = Field(default=(), max_length=100)

    @property
    def name(self) -> str:
        """Its author's name as people see it there."""
        nick = self.member.nick if self.member else None
        return nick or self.author.global_name or self.author.username


class Deleted(BaseModel):
    """Messages that are gone."""

    channel_id: str = Field(min_length=1)
    id: str | None = None
    ids: Many[str] = Field(default=(), max_length=1000)


class Emoji(BaseModel):
    """An emoji: one of all people's has a name alone, one of a server an id as well."""

    id: str | None = None
    name: str | None = None

    @property
    def named(self) -> str:
        """It, as reactions name it."""
        return f"{self.name or ''}:{self.id}" if self.id else self.name or ""


class Reacted(BaseModel):
    """A reaction, or one that was taken back."""

    user_id: str = Field(min_length=1)
    channel_id: str = Field(min_length=1)
    message_id: str = Field(min_length=1)
    message_author_id: str | None = None
    emoji: Emoji
    member: Member | None = None

    @property
    def name(self) -> str | None:
        """What whoever reacted is called, as far as it is told."""
        if self.member is None:
            return None
        return self.member.nick or self.member.user.global_name or self.member.user.username


class Option(BaseModel):
    """An option of a command, or a subcommand, which has some."""

    name: str
    value: str | int | float | bool | None = None
    options: list[Any] | None = Field(default=None, max_length=25)
