"""Events of what expiry, the archive and erasure do to a session."""

from typing import Literal

from pydantic import Field, JsonValue

from agentbus.contracts.base import Id, Many, Timestamp
from agentbus.contracts.events.base import SessionEvent
from agentbus.contracts.expiry import ArchiveRef, CleanupAction
from agentbus.contracts.ids import SessionId, SessionIdField
from agentbus.contracts.session import SessionStatus
from agentbus.contracts.stamps import StampField
from agentbus.contracts.sync import Conflict, TurnedDown


class ExpiryStepTaken(SessionEvent):
    """A rule did something to the session, or warns of it."""

    topic = "expiry"
    kind: Literal["expiry_step_taken"] = "expiry_step_taken"
    rule_id: Id
    step: int = Field(ge=-1, description="Counted from 0; -1 is the warning.")
    action: CleanupAction
    next_at: Timestamp | None = Field(default=None, description="When the next step comes, unless something happens.")
    earlier: SessionId | None = Field(
        default=None, description="The earlier session of the conversation that it was done to; none: this one."
    )


class SessionArchived(SessionEvent):
    """The session is in the archive, verified; its history leaves the store."""

    topic = "archived"
    kind: Literal["session_archived"] = "session_archived"
    archive: ArchiveRef
    archived: SessionIdField = Field(description="This session, or an earlier one of the conversation.")


class SessionRestored(SessionEvent):
    """The session came back from the archive, or from a backup."""

    topic = "restored"
    kind: Literal["session_restored"] = "session_restored"
    restored: SessionIdField = Field(description="This session, or an earlier one of the conversation.")
    status: SessionStatus
    data: dict[str, JsonValue] = Field(default_factory=dict)
    metadata: dict[str, JsonValue] = Field(default_factory=dict)
    stamps: dict[str, StampField] = Field(default_factory=dict)
    conflicts: Many[Conflict] = Field(default=(), description="Open again.")
    turned_down: Many[TurnedDown] = ()


class ConversationErased(SessionEvent):
    """A user's data was erased; nothing of it stays in any session of the conversation."""

    topic = "erased"
    kind: Literal["conversation_erased"] = "conversation_erased"
