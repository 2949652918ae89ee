"""What is kept beside the sessions: records (checkpoints, templates), locks, and figures about many sessions."""

from enum import StrEnum
from typing import Final, Self

from pydantic import Field, JsonValue, model_validator

from agentbus.contracts.base import (
    MAX_DATA_BYTES,
    MAX_INPUT_BYTES,
    Announced,
    Id,
    Sealable,
    Timestamp,
    check_size,
)
from agentbus.contracts.ids import SessionId
from agentbus.contracts.session import SessionStatus

MAX_COMPONENTS_BYTES: Final = MAX_INPUT_BYTES
"""Largest state of a session's components, in bytes of compact JSON (about)."""


class RecordKind(StrEnum):
    """What a record is."""

    CHECKPOINT = "checkpoint"
    """Data saved at one moment of a session; its group is the session."""
    TEMPLATE = "template"
    """What new sessions begin with; its key is the template's name."""
    EXPIRY_RULE = "expiry_rule"
    """An expiry rule; its key is the rule's id."""
    DEADLINE = "deadline"
    """When a rule has to look at a session again; its key is the session, its group the partition."""
    SYNC_POLICY = "sync_policy"
    """How the sessions of an identity are synced; its key is the identity, or `default`."""
    SYNC_TASK = "sync_task"
    """A sync that waits for its time; its key is the source session, its group the partition."""
    IDENTITY = "identity"
    """What is known of an identity besides its sessions; its key is the identity. And which conversations ever were
    linked to it: their key is the conversation, their group a digest of the identity."""
    CLAIM_CODE = "claim_code"
    """A claim code that was given out; its key is the code's number."""
    CLAIM = "claim"
    """Who used a claim code; its key is the code's number."""
    CONTACT = "contact"
    """A verified address or handle of a session's user; its group is a digest of it."""
    SUGGESTION = "suggestion"
    """Two sessions that may be one person's; a link only once somebody confirms it."""
    ARCHIVED = "archived"
    """A session in the archive; its key is the session."""
    ERASURE = "erasure"
    """A user who was erased; its key is a keyed digest of the user's id."""
    FIGURE = "figure"
    """Counts of what a worker did; its key names them."""
    UNANNOUNCED = "unannounced"
    """A conversation that is not announced from a version on, which is the revision."""
    INSTALLATION = "installation"
    """What all processes on this store have to agree on; there is one."""
    MIGRATION = "migration"
    """How far the copying of another store to this one is; there is one while it is under way."""
    RESTORE = "restore"
    """A restore from a backup, under way or over; its key is its epoch."""
    TRACKED = "tracked"
    """How far a conversation's log was followed for its figures, which is the revision; its key is the conversation."""
    ROLLUP = "rollup"
    """A conversation's figures of a day, by the hour; its key is `<conversation>/<date>`, its group the date."""
    USAGE = "usage"
    """What a session used; its key is the session, its group the month in which it began."""
    TRACKED_EVENT = "tracked_event"
    """Something that an application told of a session; its group is the session."""
    COMPONENTS = "components"
    """The states of an agent's components; its key is the session."""
    OUTBOX = "outbox"
    """A conversation with replies to send: its key is the conversation, its group the partition. And a reply of which
    nobody knows whether it was sent: its key is the reply, its group `unknown`."""
    SENDING = "sending"
    """How far a reply is that is being sent; its key is the reply, its group the conversation."""
    HELD_BACK = "held_back"
    """Until when a platform takes nothing from an account, or for a chat; its key is a digest of them."""
    WRITING = "writing"
    """A message that shows a reply which is being written; its key is the conversation, its group the partition."""
    ASKED = "asked"
    """How far a platform that is asked was read; its key says which account."""
    JOURNAL = "journal"
    """Which commits were announced, in the order of all: a page a record; its key is the page's number."""
    JOURNALED = "journaled"
    """How far a conversation's log is in the journal, which is the revision; its key is the conversation."""
    DATA_KEY = "data_key"
    """A key that something is encrypted with, itself encrypted; its key is the data key's name."""
    API_KEY = "api_key"
    """A key of the HTTP API, of which a digest is kept; its key is the part of it that is no secret. And when it was
    used: its key is that with `.used`."""
    HAND_BACK = "hand_back"
    """A partition that somebody had handed to another worker; its group is the prefix, its key with the number."""
    SIGN_IN = "sign_in"
    """Somebody who is signed in at the dashboard; its key is a digest of what their browser shows."""
    JOB = "job"
    """Long work that somebody started over the HTTP API, and how far it is; its key is the job's id. And that it is to
    be cancelled: its key is the id too, with `.cancel`."""


class Record(Sealable):
    """A small document of its own: its key is unique among those of its kind, its group is what they are listed by."""

    kind: RecordKind
    key: Id
    group: Id = "default"
    created_at: Timestamp
    data: dict[str, JsonValue] = Field(description="A JSON object that every store can keep.")
    revision: int = Field(default=0, ge=0, description="Of what it was made from: an older one replaces no newer one.")
    due_at: Timestamp | None = Field(default=None, description="When somebody has to look at it.")

    @model_validator(mode="after")
    def _is_bounded(self) -> Self:
        check_size(self.data, MAX_COMPONENTS_BYTES if self.kind is RecordKind.COMPONENTS else MAX_DATA_BYTES)
        return self


def checkpoint_groups(session: SessionId) -> tuple[Id, Id]:
    """Return the groups of a session's checkpoints: those that are shown, and the mark of the last one by itself.

    The mark stays when checkpoints are cleared: what was due once is not due again.
    """
    return session, f"{session}/auto"


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
