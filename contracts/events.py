"""Events: what happened to a session. Past tense; never changed once committed."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field, JsonValue

from contracts.address import Address, Platform
from contracts.base import Announced, Id, Name, Text, Timestamp
from contracts.ids import ConversationIdField, InputId, MessageKey, SessionId, SessionIdField
from contracts.messages import Attachments, Role, SessionMessage
from contracts.profile import Profile, no_profile
from contracts.session import SessionStatus


class StartReason(StrEnum):
    """Why a session began."""

    MESSAGE = "message"
    """A message arrived and no session was live."""
    CREATED = "created"
    """A command created it."""
    RESET = "reset"
    """The session before it was reset."""


class CloseReason(StrEnum):
    """Why a session ended."""

    CLOSED = "closed"
    """A command closed it."""
    RESET = "reset"
    """It was reset; the conversation goes on in its next session."""
    SUPERSEDED = "superseded"
    """A new session was created for the same conversation."""


class _Event(Announced):
    """What every event tells."""

    topic: ClassVar[str]
    """The middle word of the routing key."""

    session_id: SessionIdField
    sequence: int = Field(ge=1, description="Counts the session's events from 1, without gaps.")
    at: Timestamp = Field(description="When it was decided, by the worker's clock.")
    cause: InputId = Field(description="The input that caused it.")
    actor: Id | None = Field(default=None, description="The user on whose behalf a command was given.")
    platform: Platform | None = Field(
        default=None, description="The platform of the session's last message, if it had one."
    )

    @property
    def event_id(self) -> str:
        """The event's id, the same at each announcement: `<session_id>/<sequence>`."""
        return f"{self.session_id}/{self.sequence}"

    @property
    def routing_key(self) -> str:
        """The topic that it is announced on: `session.<what>.<platform>`."""
        return f"session.{self.topic}.{self.platform or 'none'}"


class SessionStarted(_Event):
    """A session began."""

    topic = "started"
    kind: Literal["session_started"] = "session_started"
    reason: StartReason
    address: Address | None = None
    data: dict[str, JsonValue] = Field(default_factory=dict)
    metadata: dict[str, JsonValue] = Field(default_factory=dict)
    profile: Profile = Field(default_factory=no_profile)
    previous: SessionId | None = None


class MessageAppended(_Event):
    """A message entered the history. The bot's own are announced as `reply`, all others as `message`."""

    topic = "message"
    kind: Literal["message_appended"] = "message_appended"
    message: SessionMessage

    @property
    def routing_key(self) -> str:
        what = "reply" if self.message.role is Role.ASSISTANT else self.topic
        return f"session.{what}.{self.platform or 'none'}"


class MessageEdited(_Event):
    """An earlier message says something else now."""

    topic = "edited"
    kind: Literal["message_edited"] = "message_edited"
    target: MessageKey
    text: Text
    attachments: Attachments = ()


class MessageDeleted(_Event):
    """An earlier message was taken back."""

    topic = "deleted"
    kind: Literal["message_deleted"] = "message_deleted"
    target: MessageKey


class ReactionChanged(_Event):
    """Someone reacted to a message, or took the reaction back."""

    topic = "reaction"
    kind: Literal["reaction_changed"] = "reaction_changed"
    target: MessageKey
    user: Id
    reaction: Id
    removed: bool = False


class DataSet(_Event):
    """Keys of the session's data were set or removed."""

    topic = "data"
    kind: Literal["data_set"] = "data_set"
    values: dict[str, JsonValue] = Field(default_factory=dict)
    removed: tuple[str, ...] = ()


class MetadataSet(_Event):
    """Keys of the session's metadata were set or removed."""

    topic = "metadata"
    kind: Literal["metadata_set"] = "metadata_set"
    values: dict[str, JsonValue] = Field(default_factory=dict)
    removed: tuple[str, ...] = ()


class StateChanged(_Event):
    """The session moved to another status."""

    topic = "state"
    kind: Literal["state_changed"] = "state_changed"
    previous: SessionStatus
    status: SessionStatus
    reason: Name | None = None


class SessionClosed(_Event):
    """The session ended."""

    topic = "closed"
    kind: Literal["session_closed"] = "session_closed"
    why: CloseReason
    reason: Name | None = None


class ProfileChanged(_Event):
    """The session's owner, access, lifetime or place among others changed."""

    topic = "profile"
    kind: Literal["profile_changed"] = "profile_changed"
    profile: Profile = Field(description="As it is now.")


class HistoryTrimmed(_Event):
    """Earlier messages are no longer shown."""

    topic = "trimmed"
    kind: Literal["history_trimmed"] = "history_trimmed"
    before: int = Field(ge=1, description="Messages of events before this one are gone from the history.")


class SessionDeleted(_Event):
    """This session, or an earlier one of the conversation, was deleted."""

    topic = "removed"
    kind: Literal["session_deleted"] = "session_deleted"
    deleted: SessionIdField


class FenceRaised(_Event):
    """A later holder of the session's lock wrote: what earlier ones still send is refused."""

    topic = "fence"
    kind: Literal["fence_raised"] = "fence_raised"
    fence: int = Field(ge=1)


class SessionBlocked(_Event):
    """An input failed for good, and the conversation waits for it."""

    topic = "blocked"
    kind: Literal["session_blocked"] = "session_blocked"
    code: Id = Field(description="The error's name in snake case.")


class SessionUnblocked(_Event):
    """The conversation goes on."""

    topic = "unblocked"
    kind: Literal["session_unblocked"] = "session_unblocked"


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
    | SessionBlocked
    | SessionUnblocked
)
Event = Annotated[AnyEvent, Field(discriminator="kind")]
Amendment = MessageEdited | MessageDeleted | ReactionChanged
"""Events that change how an earlier message reads."""


class Commit(Announced):
    """One atomic append to a conversation's log: the events that a batch of inputs caused."""

    conversation_id: ConversationIdField
    version: int = Field(ge=1, description="Counts the conversation's commits from 1, without gaps.")
    epoch: int = Field(default=0, ge=0, description="The partition epoch of the worker that wrote it.")
    at: Timestamp
    inputs: tuple[InputId, ...] = Field(description="The inputs applied by it; never in two commits.")
    events: tuple[Event, ...]

    @property
    def targets(self) -> frozenset[MessageKey]:
        """The messages that this commit amends."""
        return frozenset(event.target for event in self.events if isinstance(event, Amendment))
