"""What a list shows of a session, out of its head: what else is kept there, large as it may be, is not looked at."""

from typing import Any

from pydantic import AwareDatetime, Field

from agentbus.contracts.address import Address
from agentbus.contracts.base import Announced, Id, Many
from agentbus.contracts.history import SessionSummary
from agentbus.contracts.ids import ConversationIdField, InputId, SessionId, session_id_for
from agentbus.contracts.profile import SessionType, Tags
from agentbus.contracts.session import SessionState, SessionStatus


class ListedProfile(Announced):
    """Of a profile, what a list shows."""

    owner: Id | None = None
    agent_id: Id | None = None
    session_type: SessionType = SessionType.PRIVATE
    tags: Tags = ()
    expires_at: AwareDatetime | None = None


class ListedHead(Announced):
    """Of a head, what a list shows, by the names that it has there."""

    conversation_id: ConversationIdField
    generation: int = 0
    version: int = 0
    status: SessionStatus = SessionStatus.CLOSED
    state: Id | None = None
    address: Address | None = None
    profile: ListedProfile = Field(default_factory=ListedProfile)
    message_count: int = 0
    created_at: AwareDatetime | None = None
    last_activity: AwareDatetime | None = None
    identity: Id | None = None
    conflicts: Many[Any] = ()
    blocked_by: InputId | None = None

    @property
    def session_id(self) -> SessionId:
        """The session's id. Raises ValueError for the head of none."""
        if self.generation < 1:
            raise ValueError("of no session")
        return session_id_for(self.conversation_id, self.generation)


def summary_of(head: SessionState | ListedHead) -> SessionSummary:
    """Return what a list shows of a session."""
    profile = head.profile
    return SessionSummary(
        session_id=head.session_id,
        status=head.status,
        state=head.state or head.status.value,
        address=head.address,
        owner=profile.owner,
        agent_id=profile.agent_id,
        session_type=profile.session_type,
        tags=profile.tags,
        identity=head.identity,
        created_at=head.created_at,
        last_activity=head.last_activity,
        expires_at=profile.expires_at,
        message_count=head.message_count,
        version=head.version,
        has_conflicts=bool(head.conflicts),
        blocked=head.blocked_by is not None,
    )


def summary_in(kept: str | bytes) -> SessionSummary:
    """Read what a list shows out of a head's JSON. Raises ValueError."""
    return summary_of(ListedHead.model_validate_json(kept, extra="ignore"))
