"""Events of a session's data and metadata, and of what linked sessions share of them."""

from typing import Literal

from pydantic import Field, JsonValue

from agentbus.contracts.base import Id, Many
from agentbus.contracts.events.base import SessionEvent
from agentbus.contracts.ids import SessionId
from agentbus.contracts.stamps import StampField
from agentbus.contracts.sync import Conflict, ConflictStrategy, Entry


class DataSet(SessionEvent):
    """Keys of the session's data were set or removed."""

    topic = "data"
    kind: Literal["data_set"] = "data_set"
    values: dict[str, JsonValue] = Field(default_factory=dict)
    removed: Many[str] = ()
    stamp: StampField | None = None
    bases: dict[str, StampField] = Field(default_factory=dict, description="By field: when what it replaces was set.")


class MetadataSet(SessionEvent):
    """Keys of the session's metadata were set or removed."""

    topic = "metadata"
    kind: Literal["metadata_set"] = "metadata_set"
    values: dict[str, JsonValue] = Field(default_factory=dict)
    removed: Many[str] = ()
    stamp: StampField | None = None
    bases: dict[str, StampField] = Field(default_factory=dict, description="By field: when what it replaces was set.")


class IdentityLinked(SessionEvent):
    """The conversation's sessions are one person's, together with others of the same identity."""

    topic = "linked"
    kind: Literal["identity_linked"] = "identity_linked"
    linked: Id = Field(description="The identity's key.")


class IdentityUnlinked(SessionEvent):
    """The conversation's sessions are no longer part of an identity; what was shared stays."""

    topic = "unlinked"
    kind: Literal["identity_unlinked"] = "identity_unlinked"
    unlinked: Id = Field(description="The identity's key.")


class ContextMerged(SessionEvent):
    """Fields of a linked session were brought in."""

    topic = "merged"
    kind: Literal["context_merged"] = "context_merged"
    source: SessionId
    strategy: ConflictStrategy
    applied: Many[Entry] = Field(default=(), description="What the session has now.")
    kept: Many[Entry] = Field(default=(), description="What it kept against the source, which does not have it.")


class ConflictOpened(SessionEvent):
    """A linked session has other values of the same fields, and somebody has to choose."""

    topic = "conflict"
    kind: Literal["conflict_opened"] = "conflict_opened"
    conflicts: Many[Conflict]


class ConflictResolved(SessionEvent):
    """Somebody chose."""

    topic = "resolved"
    kind: Literal["conflict_resolved"] = "conflict_resolved"
    entries: Many[Entry] = Field(description="What the session has now, written anew.")
