"""Events: what happened to a session. Past tense; never changed once committed."""

from typing import Annotated, get_args

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from agentbus.contracts.base import Announced, Id, Many, Timestamp, nothing
from agentbus.contracts.events.endings import (
    ConversationErased,
    ExpiryStepTaken,
    SessionArchived,
    SessionRestored,
)
from agentbus.contracts.events.lives import (
    CloseReason,
    FenceRaised,
    HistoryTrimmed,
    ProfileAct,
    ProfileChanged,
    SessionBlocked,
    SessionClosed,
    SessionDeleted,
    SessionStarted,
    SessionUnblocked,
    StartReason,
    StateChanged,
)
from agentbus.contracts.events.messages import (
    Amendment,
    MessageAppended,
    MessageDeleted,
    MessageEdited,
    ReactionChanged,
)
from agentbus.contracts.events.replies import (
    ReplyChangeRequested,
    ReplyDelivered,
    ReplyEdited,
    ReplyEvent,
    ReplyFailed,
    ReplyRead,
    ReplyReopened,
    ReplyRequested,
    ReplySent,
    ReplyUnchanged,
    ReplyUnknown,
)
from agentbus.contracts.events.sharing import (
    ConflictOpened,
    ConflictResolved,
    ContextMerged,
    DataSet,
    IdentityLinked,
    IdentityUnlinked,
    MetadataSet,
)
from agentbus.contracts.ids import ConversationIdField, InputId, MessageKey
from agentbus.contracts.messages import said_key

__all__ = [
    "AnyEvent", "Commit", "Event", "topics",
    "StartReason", "CloseReason", "ProfileAct",
    "SessionStarted", "StateChanged", "SessionClosed", "ProfileChanged", "HistoryTrimmed",
    "SessionDeleted", "FenceRaised", "SessionBlocked", "SessionUnblocked",
    "MessageAppended", "MessageEdited", "MessageDeleted", "ReactionChanged", "Amendment",
    "ReplyRequested", "ReplySent", "ReplyFailed", "ReplyUnknown", "ReplyReopened",
    "ReplyDelivered", "ReplyRead", "ReplyChangeRequested", "ReplyEdited", "ReplyUnchanged", "ReplyEvent",
    "DataSet", "MetadataSet",
    "IdentityLinked", "IdentityUnlinked", "ContextMerged", "ConflictOpened", "ConflictResolved",
    "ExpiryStepTaken", "SessionArchived", "SessionRestored", "ConversationErased",
]  # fmt: skip

AnyEvent = (
    SessionStarted
    | MessageAppended
    | MessageEdited
    | MessageDeleted
    | ReactionChanged
    | DataSet
    | MetadataSet
    | StateChanged
    | SessionClosed
    | ProfileChanged
    | HistoryTrimmed
    | SessionDeleted
    | FenceRaised
    | IdentityLinked
    | IdentityUnlinked
    | ContextMerged
    | ConflictOpened
    | ConflictResolved
    | ExpiryStepTaken
    | SessionArchived
    | SessionRestored
    | ConversationErased
    | SessionBlocked
    | SessionUnblocked
    | ReplyRequested
    | ReplySent
    | ReplyFailed
    | ReplyUnknown
    | ReplyReopened
    | ReplyDelivered
    | ReplyRead
    | ReplyChangeRequested
    | ReplyEdited
    | ReplyUnchanged
)
Event = Annotated[AnyEvent, Field(discriminator="kind")]


def topics() -> list[str]:
    """Return every middle word of an event's routing key, `session.<what>.<platform>`."""
    return sorted({event.topic for event in get_args(AnyEvent)} | {"reply", "copied"})


class Commit(Announced):
    """One atomic append to a conversation's log: the events that a batch of inputs caused."""

    conversation_id: ConversationIdField
    version: int = Field(ge=1, description="Counts the conversation's commits from 1, without gaps.")
    epoch: int = Field(default=0, ge=0, description="The partition epoch of the worker that wrote it.")
    at: Timestamp
    inputs: Many[InputId] = Field(
        description="The inputs applied by it, and the keys of messages that commands brought; never in two commits."
    )
    events: Many[Event]
    restored: SkipJsonSchema[Id | None] = Field(
        default=None,
        exclude_if=nothing,
        description="The restore that brought it back from a backup: its events were announced when they happened.",
    )

    @property
    def applied(self) -> tuple[InputId, ...]:
        """The inputs alone, without the keys of messages that they brought."""
        causes = {event.cause for event in self.events}
        said = (event for event in self.events if isinstance(event, MessageAppended))
        keys = {said_key(event.session_id, event.message.message_id) for event in said}
        return tuple(one for one in self.inputs if one in causes or one not in keys)

    @property
    def targets(self) -> frozenset[MessageKey]:
        """The messages that this commit amends."""
        return frozenset(event.target for event in self.events if isinstance(event, Amendment))
