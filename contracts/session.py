"""A session's state: what its events add up to."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from pydantic import Field, JsonValue

from agentbus.contracts.address import Address
from agentbus.contracts.base import Id, Many, Sealable, Timestamp, nothing
from agentbus.contracts.expiry import ArchiveRef, ExpiryProgress
from agentbus.contracts.ids import ConversationId, ConversationIdField, InputId, SessionId, session_id_for
from agentbus.contracts.profile import Profile, no_profile
from agentbus.contracts.replies import OutgoingReply
from agentbus.contracts.stamps import Stamp, StampField
from agentbus.contracts.sync import Conflict, TurnedDown

RECENT_INPUTS: Final = 64
"""How many applied input ids a head carries. The log knows all of them; these spare it the question."""


MOST_WAITING: Final = 2_000
"""How many inputs of a blocked conversation a head remembers the order of. What is parked beyond them has no place in
line: once these are through, it comes whenever it is replayed."""


class SessionStatus(StrEnum):
    """Where a session is in its life."""

    ACTIVE = "active"
    """It takes part in a conversation."""
    IDLE = "idle"
    """Nothing happened for a while; the next message makes it active again."""
    SUSPENDED = "suspended"
    """Set aside by an operator or a rule; messages are kept, it stays suspended."""
    EXPIRED = "expired"
    """Its time ran out; the next message starts the conversation's next session."""
    ARCHIVED = "archived"
    """Put away: in the archive, if the installation has one."""
    CLOSED = "closed"
    """Ended: by a command, a reset, or superseded by a new one."""
    DELETED = "deleted"
    """Taken away: no longer shown or listed. Erasing its bytes is a matter of its own."""

    @property
    def is_live(self) -> bool:
        """Whether messages still go into the session."""
        return self in _LIVE


class FailurePolicy(StrEnum):
    """What an input that failed for good means for those behind it in its conversation."""

    SKIP = "skip"
    """It is parked, the conversation goes on."""
    BLOCK = "block"
    """It is parked, and so is all that follows, until these were replayed in their order or the session unblocked."""


FAILURE_POLICY_KEY: Final = "on_failure"
"""The key of a session's metadata that sets its failure policy, in place of the workers' setting."""

_LIVE: Final = frozenset({SessionStatus.ACTIVE, SessionStatus.IDLE, SessionStatus.SUSPENDED})


class SessionState(Sealable):
    """The current state of a conversation's latest session: its head.

    `version` is the conversation's last commit that this state contains; `sequence` is the session's last event.
    A conversation in which nothing happened yet has generation 0 and version 0.
    """

    conversation_id: ConversationIdField
    generation: int = Field(default=0, ge=0, description="Which session of the conversation, from 1.")
    version: int = Field(default=0, ge=0, description="Commits of the conversation up to this state.")
    epoch: int = Field(default=0, ge=0, description="The partition epoch of the last commit.")
    sequence: int = Field(default=0, ge=0, description="Events of this session up to this state.")
    first_version: int = Field(default=0, ge=0, description="The commit that started this session.")
    status: SessionStatus = SessionStatus.CLOSED
    state: Id | None = Field(
        default=None,
        exclude_if=nothing,
        description="The state of the installation's own that it is in; its status is that of this state.",
    )
    address: Address | None = Field(default=None, description="Where the last message came from.")
    data: dict[str, JsonValue] = Field(default_factory=dict)
    metadata: dict[str, JsonValue] = Field(default_factory=dict)
    profile: Profile = Field(default_factory=no_profile)
    message_count: int = Field(default=0, ge=0, description="Messages appended, those trimmed away included.")
    shown_from: int = Field(default=0, ge=0, description="Messages of events before this one are no longer shown.")
    fence: int = Field(default=0, ge=0, description="The highest fencing token seen; lower ones are refused.")
    created_at: Timestamp | None = None
    last_activity: Timestamp | None = Field(default=None, description="When the last event was committed.")
    identity: Id | None = Field(default=None, description="The person whose linked sessions this is one of.")
    unlinked: bool = Field(default=False, description="It was linked before; it may be again.")
    stamps: dict[str, StampField] = Field(
        default_factory=dict, description="By field of data and metadata, removed ones too: when it was written."
    )
    clock: Stamp | None = Field(default=None, description="The latest stamp seen; the next one is later.")
    conflicts: Many[Conflict] = Field(default=(), description="Open ones, oldest first.")
    turned_down: Many[TurnedDown] = Field(
        default=(), description="Values of linked sessions that were not taken, by field and writer the latest."
    )
    expiry: ExpiryProgress | None = Field(default=None, description="The last step of a rule since the last activity.")
    last_step: ExpiryProgress | None = Field(
        default=None, description="The last step of a rule, whatever happened since: age is not activity."
    )
    archive: ArchiveRef | None = Field(default=None, description="Where it is, for an archived session.")
    restored: bool = Field(default=False, description="It came back from the archive, where its file may still be.")
    erased: bool = Field(default=False, description="A user's data was erased from the conversation.")
    blocked_by: InputId | None = Field(default=None, description="The parked input that all others wait for.")
    waiting: Many[InputId] = Field(
        default=(), description="Inputs parked behind that one, in the order in which the conversation takes them."
    )
    replies: Many[OutgoingReply] = Field(
        default=(), description="The conversation's replies that are open, and the last that were sent, oldest first."
    )
    recent_inputs: Many[InputId] = Field(default=(), description="The last inputs applied, oldest first.")

    @classmethod
    def empty(cls, conversation_id: ConversationId) -> "SessionState":
        """Return the state of a conversation in which nothing happened yet."""
        return cls(conversation_id=conversation_id)

    @property
    def session_id(self) -> SessionId:
        """The session's id. Raises ValueError while there is no session."""
        if not self.generation:
            raise ValueError(f"conversation {self.conversation_id} has no session yet")
        return session_id_for(self.conversation_id, self.generation)

    @property
    def is_live(self) -> bool:
        """Whether there is a session that takes messages."""
        return self.generation > 0 and self.status.is_live

    @property
    def idle_at(self) -> datetime | None:
        """When an active session becomes idle unless something happens; None if it does not."""
        if self.status is not SessionStatus.ACTIVE or self.profile.idle_timeout is None or self.last_activity is None:
            return None
        return self.last_activity + timedelta(milliseconds=round(self.profile.idle_timeout * 1000))

    @property
    def due_at(self) -> datetime | None:
        """When the session's status changes by itself next; None if it never does."""
        if not self.is_live:
            return None
        deadlines = [moment for moment in (self.idle_at, self.profile.expires_at) if moment]
        return min(deadlines, default=None)
