"""Events of a session's history: messages, and what becomes of them."""

from typing import Literal

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from agentbus.contracts.base import Id, Text, nothing
from agentbus.contracts.events.base import SessionEvent
from agentbus.contracts.ids import MessageKey, SessionId
from agentbus.contracts.messages import Attachments, Role, SessionMessage


class MessageAppended(SessionEvent):
    """A message entered the history.

    The bot's own are announced as `reply`, those copied from a linked session as `copied`, all others as `message`.
    """

    topic = "message"
    kind: Literal["message_appended"] = "message_appended"
    message: SessionMessage
    source: SessionId | None = Field(default=None, description="The linked session that it was copied from.")
    restored: SkipJsonSchema[bool | None] = Field(
        default=None,
        exclude_if=nothing,
        description="From a backup, as it read there: what was changed before has no effect on it. Never announced.",
    )

    @property
    def routing_key(self) -> str:
        what = "copied" if self.source else "reply" if self.message.role is Role.ASSISTANT else self.topic
        return f"session.{what}.{self.platform or 'none'}"


class MessageEdited(SessionEvent):
    """An earlier message says something else now; with a `source`, copies of that session's message do."""

    topic = "edited"
    kind: Literal["message_edited"] = "message_edited"
    target: MessageKey
    text: Text
    attachments: Attachments = ()
    source: SessionId | None = Field(default=None, description="The linked session in which it happened.")
    source_version: int = Field(
        default=0, ge=0, description="Its commit's version there: of several edits of copies the highest holds."
    )


class MessageDeleted(SessionEvent):
    """An earlier message was taken back; with a `source`, copies of that session's message were."""

    topic = "deleted"
    kind: Literal["message_deleted"] = "message_deleted"
    target: MessageKey
    source: SessionId | None = Field(default=None, description="The linked session in which it happened.")


class ReactionChanged(SessionEvent):
    """Someone reacted to a message, or took the reaction back."""

    topic = "reaction"
    kind: Literal["reaction_changed"] = "reaction_changed"
    target: MessageKey
    user: Id
    reaction: Id
    removed: bool = False


Amendment = MessageEdited | MessageDeleted | ReactionChanged
"""Events that change how an earlier message reads."""
