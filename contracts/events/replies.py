"""Events of replies: what is to be sent to a channel, and what became of it."""

from typing import Literal

from pydantic import Field

from agentbus.contracts.address import Address
from agentbus.contracts.base import Id, Timestamp, nothing
from agentbus.contracts.events.base import SessionEvent
from agentbus.contracts.ids import MessageKey
from agentbus.contracts.replies import PlatformIds, Reason, ReplyId, ReplyIdField, reply_id_for


class ReplyRequested(SessionEvent):
    """A message of the bot is to be sent to its channel. The message was appended by the same commit.

    Or a reaction of the bot, which the same commit tells of (`reaction_changed`).
    """

    topic = "outbox"
    kind: Literal["reply_requested"] = "reply_requested"
    message: MessageKey = Field(description="What is to be said.")
    to: Address = Field(description="Where it goes.")
    reacts_to: Id | None = Field(
        default=None,
        exclude_if=nothing,
        description="The platform's id of the message that is reacted to, if it is that; `message` is its key.",
    )

    @property
    def reply_id(self) -> ReplyId:
        """The reply's id, which all that is told of it later names."""
        return reply_id_for(self.session_id, self.number)


class ReplyEvent(SessionEvent):
    """What all events tell that are about a reply, be it of an earlier session of the conversation."""

    reply: ReplyIdField


class ReplySent(ReplyEvent):
    """The platform has the reply."""

    topic = "sent"
    kind: Literal["reply_sent"] = "reply_sent"
    message_ids: PlatformIds = Field(default=(), description="What the platform calls its messages, in their order.")
    maybe_doubled: bool = Field(default=False, description="It was sent again although it may have been sent before.")
    resolved: bool = Field(default=False, description="Somebody said so of a reply whose outcome was unknown.")
    seen: int | None = Field(default=None, exclude_if=nothing, description="The conversation's version that was sent.")


class ReplyFailed(ReplyEvent):
    """The reply was not sent, or not delivered, and will not be."""

    topic = "failed"
    kind: Literal["reply_failed"] = "reply_failed"
    reason: Reason
    resolved: bool = Field(default=False, description="Somebody said so of a reply whose outcome was unknown.")


class ReplyUnknown(ReplyEvent):
    """Nobody knows whether the platform has the reply: it waits for somebody to say what is to be done."""

    topic = "unknown"
    kind: Literal["reply_unknown"] = "reply_unknown"
    reason: Reason


class ReplyReopened(ReplyEvent):
    """A reply whose outcome is unknown is to be sent again: it may be doubled."""

    topic = "outbox"
    kind: Literal["reply_reopened"] = "reply_reopened"


class ReplyDelivered(ReplyEvent):
    """The reply is on the person's device."""

    topic = "delivered"
    kind: Literal["reply_delivered"] = "reply_delivered"
    told_at: Timestamp | None = Field(default=None, description="When it got there, by the platform's clock.")


class ReplyRead(ReplyEvent):
    """The person has seen the reply."""

    topic = "read"
    kind: Literal["reply_read"] = "reply_read"
    told_at: Timestamp | None = Field(default=None, description="When they did, by the platform's clock.")


class ReplyChangeRequested(ReplyEvent):
    """A reply says something else now, or was taken back: where it was sent, its platform is to show so."""

    topic = "outbox"
    kind: Literal["reply_change_requested"] = "reply_change_requested"


class ReplyEdited(ReplyEvent):
    """The platform shows what a reply says now, or that it was taken back."""

    topic = "updated"
    kind: Literal["reply_edited"] = "reply_edited"
    message_id: Id | None = Field(
        default=None, description="What the platform calls the message that was changed; none: it was taken back."
    )
    seen: int | None = Field(default=None, exclude_if=nothing, description="The conversation's version that it shows.")


class ReplyUnchanged(ReplyEvent):
    """The platform shows what a reply said before: it can't be changed there."""

    topic = "updated"
    kind: Literal["reply_unchanged"] = "reply_unchanged"
    reason: Reason
    seen: int | None = Field(
        default=None, exclude_if=nothing, description="The conversation's version that it was to show."
    )
