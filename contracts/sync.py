"""What is shared between the sessions of one person on several channels, and how differences are settled."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, Field, JsonValue, StringConstraints, model_validator

from agentbus.contracts.address import Platform
from agentbus.contracts.base import MAX_DATA_BYTES, Announced, Contract, Id, Many, Name, Timestamp, json_size
from agentbus.contracts.ids import SessionIdField
from agentbus.contracts.profile import Seconds
from agentbus.contracts.stamps import StampField

FieldPointer = Annotated[str, StringConstraints(pattern=r"^/(data|metadata)/", max_length=4096)]
"""Where a value is: an RFC 6901 JSON pointer into `{"data": ..., "metadata": ...}`, down to what is no object."""


class ConflictStrategy(StrEnum):
    """Which of two values of a field stays."""

    LATEST_WINS = "latest_wins"
    """The later one, key by key of data and metadata as a whole."""
    SOURCE_PRIORITY = "source_priority"
    """That of the platform that stands first in the policy's list; of two alike the later one."""
    MERGE = "merge"
    """The later one, field by field down into objects, so that both sides' fields are kept."""
    MANUAL = "manual"
    """Neither: both are kept, the session keeps its own until someone resolves the conflict."""


class SyncMode(StrEnum):
    """When linked sessions are synced."""

    MANUAL = "manual"
    """When somebody asks for it."""
    AUTOMATIC = "automatic"
    """At each change."""
    DELAYED = "delayed"
    """Once nothing has changed for a while."""
    BATCH = "batch"
    """All changes of an interval at its end."""


class SyncOperation(StrEnum):
    """What syncing does to a session."""

    CREATE = "create"
    """It gets a field that it did not have."""
    UPDATE = "update"
    """A field gets another value."""
    DELETE = "delete"
    """A field is removed."""
    MERGE = "merge"
    """The whole contexts of two sessions are brought together: when they are linked, or begin anew."""


ALL_OPERATIONS = frozenset(SyncOperation)


class SyncPolicy(Contract):
    """What an identity's sessions share, when, and who wins."""

    mode: SyncMode = SyncMode.AUTOMATIC
    strategy: ConflictStrategy = ConflictStrategy.LATEST_WINS
    data: Many[Name] = Field(default=("*",), description="Keys of data that are shared; `*` stands for any text.")
    metadata: Many[Name] = Field(default=(), description="Keys of metadata that are shared, likewise.")
    history: bool = Field(default=False, description="Whether messages are copied into the other histories.")
    operations: frozenset[SyncOperation] = Field(
        default=ALL_OPERATIONS, fail_fast=True, description="What may be done to a session."
    )
    priority: Many[Platform] = Field(default=(), description="For source_priority: the first wins.")
    delay: Seconds = Field(default=5.0, description="For delayed: seconds without a change.")
    interval: Seconds = Field(default=60.0, description="For batch: seconds from one sync to the next.")


def _as_field(value: JsonValue) -> JsonValue:
    if isinstance(value, dict) and value:
        raise ValueError("an object is given field by field")
    if json_size(value) > MAX_DATA_BYTES:
        raise ValueError(f"more than {MAX_DATA_BYTES} bytes of JSON")
    return value


class Entry(Announced):
    """A field's value, or that it was removed, and when and where that was written."""

    field: FieldPointer
    value: Annotated[JsonValue, AfterValidator(_as_field)] = None
    removed: bool = False
    stamp: StampField
    base: StampField | None = Field(default=None, description="What the writer saw there before, if anything.")


class Conflict(Announced):
    """Two values of one field, of which someone has to choose."""

    held: Entry | None = Field(default=None, description="What the session has; none: the field was never there.")
    offered: Entry
    source: SessionIdField
    opened_at: Timestamp

    @property
    def field(self) -> str:
        """The field that it is about."""
        return self.offered.field


class TurnedDown(Announced):
    """A value that a session did not take, and said so or was told to; the same again says nothing new."""

    field: FieldPointer
    stamp: StampField


class Resolution(Contract):
    """How a conflict is resolved: by a rule, or by one of the two values."""

    strategy: ConflictStrategy | None = None
    priority: Many[Platform] = ()
    take_offered: bool | None = Field(default=None, description="True: the offered value; false: the held one.")

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.strategy is None) == (self.take_offered is None) or self.strategy is ConflictStrategy.MANUAL:
            raise ValueError("give a strategy other than manual, or say whether to take the offered value")
        return self


class Identity(Announced):
    """One person, as the sessions on several channels that are theirs."""

    identity_key: Id
    display_name: Name | None = None
    session_ids: Many[SessionIdField] = ()
