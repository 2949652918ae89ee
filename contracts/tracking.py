"""What tracking keeps of sessions: figures by the hour, and what each session used. No text, and no data."""

from enum import StrEnum

from pydantic import Field, JsonValue

from agentbus.contracts.address import Platform
from agentbus.contracts.base import Announced, Id, Many, Name, Timestamp
from agentbus.contracts.ids import SessionIdField
from agentbus.contracts.profile import SessionType


class EventType(StrEnum):
    """What an application tells of a session, beside what the session's own log says."""

    SESSION_STARTED = "session_started"
    """The application began its work on a session."""
    SESSION_ENDED = "session_ended"
    """The application is through with it."""
    MESSAGE_RECEIVED = "message_received"
    """It took a message up."""
    MESSAGE_SENT = "message_sent"
    """It sent one."""
    STATE_CHANGED = "state_changed"
    """Something in its own state changed."""
    TOOL_CALLED = "tool_called"
    """It called a tool or another service."""
    FEEDBACK = "feedback"
    """Somebody said how it did."""
    ERROR = "error"
    """Something went wrong."""
    CUSTOM = "custom"
    """Anything else; its data says what."""


class StateTransitionType(StrEnum):
    """Why a session moves to another status."""

    AUTOMATIC = "automatic"
    """By a rule of the application."""
    MANUAL = "manual"
    """Somebody wanted it."""
    TIMEOUT = "timeout"
    """A time ran out."""
    ERROR = "error"
    """Something went wrong."""


class SessionEnding(StrEnum):
    """How a session ended, as its log tells."""

    CLOSED = "closed"
    """A command closed it."""
    RESET = "reset"
    """It was reset."""
    SUPERSEDED = "superseded"
    """A new one was created in its place."""
    EXPIRED = "expired"
    """Its time ran out."""
    ARCHIVED = "archived"
    """It was put away."""
    DELETED = "deleted"
    """It was taken away."""


class Usage(Announced):
    """What one session used: the ledger's entry. It stays when the session goes, but for an erasure."""

    session_id: SessionIdField
    platform: Platform | None = None
    account: Id | None = None
    owner: Id | None = None
    agent_id: Id | None = None
    ai_model: Name | None = None
    session_type: SessionType | None = None
    started_at: Timestamp
    first_at: Timestamp | None = Field(default=None, description="When its first message was sent.")
    last_at: Timestamp | None = Field(default=None, description="When its latest message was sent.")
    ended_at: Timestamp | None = None
    ending: SessionEnding | None = None
    counts: dict[str, int] = Field(default_factory=dict, description="As of an hour, over all of the session.")


class Tracked(Announced):
    """How far a conversation's log was followed, and what the next commits are measured against."""

    version: int = Field(default=0, ge=0, description="The last commit that was followed.")
    generation: int = Field(default=0, ge=0)
    sequence: int = Field(default=0, ge=0)
    whole: bool = Field(default=True, description="Whether no event was missing on the way.")
    days: Many[int] = Field(default=(), description="The days with figures, as ordinals, in order.")
    usage: Usage | None = Field(default=None, description="Of the conversation's current session.")
    asked_at: Timestamp | None = Field(default=None, description="Since when a person waits for an answer.")
    replied_at: Timestamp | None = Field(default=None, description="Since when the other side waits for the person.")
    heard_at: Timestamp | None = Field(default=None, description="When the person last wrote, in any session.")
    run: int = Field(default=0, ge=0, description="Messages of the person's that came one soon after the other.")


class TrackedEvent(Announced):
    """Something that an application told of a session."""

    event_id: Id
    session_id: SessionIdField
    kind: Id = Field(description="An event type, or the application's own word.")
    at: Timestamp
    actor: Id | None = Field(default=None, description="The user on whose behalf it was told.")
    data: dict[str, JsonValue] = Field(default_factory=dict)
