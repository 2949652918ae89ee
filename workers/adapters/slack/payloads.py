"""What is read of what Slack sends; the rest is passed over. Source: https://docs.slack.dev/reference/events."""

from typing import Any

from pydantic import BaseModel, Field

from agentbus.contracts.base import Many
from agentbus.workers.importers.slack_texts import Texts

TS = r"^[0-9]{1,11}\.[0-9]{1,6}$"


class File(BaseModel):
    """A file, by its address."""

    url_private: str | None = None
    permalink: str | None = None
    mimetype: str | None = None
    name: str | None = None
    title: str | None = None
    size: int | None = Field(default=None, ge=0)


class Profile(BaseModel):
    """The name of somebody."""

    display_name: str | None = None
    real_name: str | None = None
    name: str | None = None


class Said(Texts):
    """A message, by itself or in the event that it was changed."""

    ts: str = Field(pattern=TS)
    subtype: str | None = None
    user: str | None = None
    bot_id: str | None = None
    app_id: str | None = None
    username: str | None = None
    thread_ts: str | None = Field(default=None, pattern=TS)
    files: Many[File] = Field(default=(), max_length=1000)
    user_profile: Profile | None = None

    @property
    def name(self) -> str | None:
        """The name of whoever said it, as far as it is told."""
        profile = self.user_profile or Profile()
        return self.username or profile.display_name or profile.real_name or profile.name


class MessageEvent(Said):
    """A message, of `message` and `app_mention`."""

    channel: str = Field(min_length=1)


class Changed(BaseModel):
    """A message says something else."""

    channel: str = Field(min_length=1)
    ts: str = Field(pattern=TS)
    message: Said
    previous_message: Said | None = None


class Deleted(BaseModel):
    """A message is gone."""

    channel: str = Field(min_length=1)
    ts: str = Field(pattern=TS)
    deleted_ts: str = Field(pattern=TS)
    previous_message: Said | None = None


class Item(BaseModel):
    """The message that a reaction is put to."""

    channel: str = Field(min_length=1)
    ts: str = Field(pattern=TS)


class Reaction(BaseModel):
    """A reaction came, or went."""

    user: str = Field(min_length=1)
    reaction: str = Field(min_length=1)
    item: Item
    item_user: str | None = None
    event_ts: str = Field(pattern=TS)


class Member(BaseModel):
    """Somebody joined a channel, or left it."""

    user: str = Field(min_length=1)
    channel: str = Field(min_length=1)
    event_ts: str = Field(pattern=TS)


class Words(BaseModel):
    """A text of a button or an entry."""

    text: str = ""


class Option(BaseModel):
    """An entry of a menu."""

    value: str = ""
    text: Words = Words()


class Pressed(BaseModel):
    """A button, or an entry of a menu, that was chosen."""

    action_id: str = ""
    action_ts: str = Field(min_length=1)
    value: str | None = None
    text: Words | None = None
    selected_option: Option | None = None


class Named(BaseModel):
    """Whatever has an id and a name."""

    id: str = Field(min_length=1)
    name: str | None = None
    username: str | None = None


class Shown(BaseModel):
    """The message that the buttons are in."""

    ts: str = Field(pattern=TS)
    thread_ts: str | None = Field(default=None, pattern=TS)


class Actions(BaseModel):
    """Buttons were pressed."""

    user: Named
    channel: Named
    message: Shown | None = None
    actions: Many[Pressed] = Field(min_length=1, max_length=64)


class Command(BaseModel):
    """A slash command, as its form has it."""

    command: str = Field(min_length=2)
    text: str = ""
    user_id: str = Field(min_length=1)
    user_name: str | None = None
    channel_id: str = Field(min_length=1)
    trigger_id: str = Field(min_length=1)


Raw = dict[str, Any]
