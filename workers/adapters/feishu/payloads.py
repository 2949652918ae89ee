"""What is read of what Feishu sends; the rest is passed over.

Source: https://open.feishu.cn/document/server-docs/im-v1/message/events/receive and the pages of the other events.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from agentbus.contracts.base import Many


class Ids(BaseModel):
    """Somebody's ids."""

    open_id: str | None = None


class Sender(BaseModel):
    """Whoever sent something."""

    sender_id: Ids = Ids()


class Mention(BaseModel):
    """Somebody mentioned in a text, in which a key stands for them."""

    key: str
    name: str = ""


class Message(BaseModel):
    """A message of any kind: its content is JSON in a text."""

    message_id: str = Field(min_length=1)
    chat_id: str = Field(min_length=1)
    message_type: str
    content: str
    create_time: int
    parent_id: str | None = None
    thread_id: str | None = None
    mentions: Annotated[Many[Mention], Field(max_length=1000)] | None = None


class Received(BaseModel):
    """`im.message.receive_v1`."""

    sender: Sender
    message: Message


class Recalled(BaseModel):
    """`im.message.recalled_v1`."""

    message_id: str = Field(min_length=1)
    chat_id: str = Field(min_length=1)


class Member(BaseModel):
    """Somebody who joined or left."""

    user_id: Ids = Ids()


class Members(BaseModel):
    """`im.chat.member.user.added_v1` and its opposites."""

    chat_id: str = Field(min_length=1)
    operator_id: Ids | None = None
    users: Many[Member] = Field(default=(), max_length=255)


class Action(BaseModel):
    """What was pressed in a card."""

    value: Any = None
    option: str | None = None
    name: str | None = None


class Where(BaseModel):
    """The card's message."""

    open_message_id: str | None = None
    open_chat_id: str | None = None


class Pressed(BaseModel):
    """`card.action.trigger`."""

    operator: Ids
    action: Action
    context: Where = Where()


class Content(BaseModel):
    """What a message's content may say, of whatever kind it is."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    text: str = ""
    title: str = ""
    content: Any = None
    image_key: str | None = None
    file_key: str | None = None
    file_name: str | None = None
    name: str = ""
    latitude: float | None = Field(default=None, ge=-90, le=90)
    longitude: float | None = Field(default=None, ge=-180, le=180)
