"""What reading gives: pages of a session's history, and of the list of sessions."""

from typing import Generic, TypeVar

from pydantic import AwareDatetime, Field

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.base import Announced, Id, Many, Name, Timestamp
from agentbus.contracts.ids import SessionId, SessionIdField
from agentbus.contracts.messages import SessionMessage
from agentbus.contracts.profile import SessionType
from agentbus.contracts.session import SessionStatus

Item = TypeVar("Item")


class Page(Announced, Generic[Item]):
    """A part of a list, and where the next part begins."""

    items: Many[Item]
    cursor: str | None = Field(default=None, description="Hand it back for the next page; none: this was the last.")


class Reaction(Announced):
    """A reaction that stands on a message."""

    user: Id
    reaction: Id


class HistoryMessage(Announced):
    """A message as it reads now: edits, deletions and reactions are worked in."""

    sequence: int = Field(ge=1, description="The number of the event that appended it.")
    message: SessionMessage = Field(description="A deleted message keeps its place, with empty text.")
    edited_at: Timestamp | None = None
    deleted_at: Timestamp | None = None
    reactions: Many[Reaction] = ()


class SessionFilter(Announced):
    """Which sessions to list; what is left out does not matter."""

    platform: Platform | None = None
    account: Id | None = None
    chat: Id | None = None
    user: Id | None = Field(default=None, description="The user of the session's last address.")
    owner: Id | None = Field(default=None, description="Whose sessions.")
    agent_id: Id | None = None
    parent_id: SessionIdField | None = Field(default=None, description="The children of this session.")
    tags: Many[Name] = Field(default=(), max_length=16, description="Sessions that have all of these.")
    status: SessionStatus | None = Field(default=None, description="Without it: all but the deleted ones.")
    conversation_id: Id | None = None
    identity: Id | None = Field(default=None, description="The linked sessions of this person.")
    conflicts: bool | None = Field(default=None, description="Sessions with open conflicts, or without.")


class SessionSummary(Announced):
    """A session, as a list shows it. Its moments are as they were kept: in UTC, in milliseconds."""

    session_id: SessionId
    status: SessionStatus
    state: str = Field(description="One of the installation's own states, or the status.")
    address: Address | None = Field(description="Where its last message came from; none: it has no chat.")
    owner: str | None
    agent_id: str | None
    session_type: SessionType
    tags: Many[str]
    identity: str | None = Field(description="The person whose linked sessions this is one of.")
    created_at: AwareDatetime | None
    last_activity: AwareDatetime | None
    expires_at: AwareDatetime | None
    message_count: int
    version: int = Field(description="Of its conversation; its ETag.")
    has_conflicts: bool = Field(default=False, description="Some are open.")
    blocked: bool = Field(default=False, description="All its inputs wait for one that is parked.")
