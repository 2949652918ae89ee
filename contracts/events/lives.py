"""Events of a session's life: it begins, changes, waits, ends."""

from enum import StrEnum
from typing import Literal

from pydantic import Field, JsonValue

from agentbus.contracts.address import Address
from agentbus.contracts.base import Id, Many, Name, nothing
from agentbus.contracts.events.base import SessionEvent
from agentbus.contracts.ids import SessionId, SessionIdField
from agentbus.contracts.profile import Permission, Profile, no_profile
from agentbus.contracts.session import SessionStatus
from agentbus.contracts.stamps import StampField


class StartReason(StrEnum):
    """Why a session began."""

    MESSAGE = "message"
    """A message arrived, or was sent to a chat first, and no session was live."""
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


class SessionStarted(SessionEvent):
    """A session began."""

    topic = "started"
    kind: Literal["session_started"] = "session_started"
    reason: StartReason
    address: Address | None = None
    data: dict[str, JsonValue] = Field(default_factory=dict)
    metadata: dict[str, JsonValue] = Field(default_factory=dict)
    profile: Profile = Field(default_factory=no_profile)
    previous: SessionId | None = None
    stamp: StampField | None = Field(default=None, description="When its first data and metadata were written.")


class StateChanged(SessionEvent):
    """The session moved to another status, or to another state of the installation's own."""

    topic = "state"
    kind: Literal["state_changed"] = "state_changed"
    previous: SessionStatus
    status: SessionStatus
    previous_state: Id | None = Field(
        default=None, exclude_if=nothing, description="The state of the installation's own that it was in."
    )
    state: Id | None = Field(default=None, exclude_if=nothing, description="The one that it is in now.")
    handler: Id | None = Field(default=None, exclude_if=nothing, description="The handler of the way that it took.")
    reason: Name | None = None


class SessionClosed(SessionEvent):
    """The session ended."""

    topic = "closed"
    kind: Literal["session_closed"] = "session_closed"
    why: CloseReason
    previous_state: Id | None = Field(
        default=None, exclude_if=nothing, description="The state that it was in; none: a status, and nobody asks."
    )
    handler: Id | None = Field(default=None, exclude_if=nothing, description="The handler of the way that it took.")
    reason: Name | None = None


class ProfileAct(StrEnum):
    """What was done to a session's profile."""

    SHARED = "shared"
    """It was shared with a user, who may do what `permission` says."""
    REVOKED = "revoked"
    """What was shared with a user was taken back."""
    VISIBILITY_SET = "visibility_set"
    """It was said who else may see it."""
    EXTENDED = "extended"
    """Its end was moved."""
    REFRESHED = "refreshed"
    """Somebody was there: its lifetime began anew, if it has one."""
    UPDATED = "updated"
    """Some of its `fields` were set or cleared."""


class ProfileChanged(SessionEvent):
    """The session's owner, access, lifetime or place among others changed."""

    topic = "profile"
    kind: Literal["profile_changed"] = "profile_changed"
    profile: Profile = Field(description="As it is now.")
    act: ProfileAct | None = Field(default=None, description="What was done; none: by an earlier release.")
    user: Id | None = Field(default=None, description="With whom it was shared, or no longer is.")
    permission: Permission | None = Field(default=None, description="What they may do now.")
    fields: Many[str] = Field(default=(), description="Which of the profile's fields an update changed.")


class HistoryTrimmed(SessionEvent):
    """Earlier messages are no longer shown."""

    topic = "trimmed"
    kind: Literal["history_trimmed"] = "history_trimmed"
    before: int = Field(ge=1, description="Messages of events before this one are gone from the history.")


class SessionDeleted(SessionEvent):
    """This session, or an earlier one of the conversation, was deleted."""

    topic = "removed"
    kind: Literal["session_deleted"] = "session_deleted"
    deleted: SessionIdField


class FenceRaised(SessionEvent):
    """A later holder of the session's lock wrote: what earlier ones still send is refused."""

    topic = "fence"
    kind: Literal["fence_raised"] = "fence_raised"
    fence: int = Field(ge=1)


class SessionBlocked(SessionEvent):
    """An input failed for good, or came behind one that did, was parked, and the conversation waits for it."""

    topic = "blocked"
    kind: Literal["session_blocked"] = "session_blocked"
    code: Id = Field(description="The error's name in snake case.")


class SessionUnblocked(SessionEvent):
    """The conversation does not wait for this input any more; it goes on, if that was the last one."""

    topic = "unblocked"
    kind: Literal["session_unblocked"] = "session_unblocked"
    waiting: int = Field(default=0, ge=0, description="How many inputs it still waits for; of those the next is due.")
