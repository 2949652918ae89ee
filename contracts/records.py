"""What is kept beside the sessions: records (checkpoints, templates), locks, and figures about many sessions."""

from enum import StrEnum

from pydantic import Field

from contracts.base import Announced, Id, JsonObject, Timestamp
from contracts.session import SessionStatus


class RecordKind(StrEnum):
    """What a record is."""

    CHECKPOINT = "checkpoint"
    """Data saved at one moment of a session; its group is the session."""
    TEMPLATE = "template"
    """What new sessions begin with; its key is the template's name."""


class Record(Announced):
    """A small document of its own: its key is unique among those of its kind, its group is what they are listed by."""

    kind: RecordKind
    key: Id
    group: Id = "default"
    created_at: Timestamp
    data: JsonObject


class Lock(Announced):
    """A lock that was acquired: a lease that ends by itself."""

    name: Id
    token: int = Field(ge=1, description="Fencing token: higher than all given out for this name before.")
    expires_at: Timestamp = Field(description="By the store's clock.")


class SessionStatistics(Announced):
    """Figures about the sessions that match a filter; deleted ones don't count."""

    total: int = Field(ge=0)
    by_status: dict[SessionStatus, int] = Field(description="Every status that at least one of them has.")
    messages: int = Field(ge=0, description="Messages appended to them.")
    mean_seconds: float = Field(ge=0, description="Mean time from a session's start to its last activity; 0 for none.")
