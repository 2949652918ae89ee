"""What the HTTP API answers, as those who serve it and those who call it read it: by models that both go by."""

from base64 import b64encode
from typing import Any, Generic, Self, TypeVar

from pydantic import ConfigDict, Field, JsonValue

from agentbus.contracts.base import Announced, Many, Timestamp
from agentbus.contracts.history import Page, SessionSummary
from agentbus.contracts.ids import ConversationId, InputId, MessageKey, SessionId
from agentbus.contracts.jobs import Job
from agentbus.contracts.members import Member, WorkerKind
from agentbus.contracts.parked import ParkedId, ParkedInput, ParkedStatus
from agentbus.contracts.profile import Permission, Visibility
from agentbus.contracts.session import SessionState
from agentbus.storage.summaries import summary_of

Item = TypeVar("Item")


class Shown(Announced):
    """An answer. FastAPI needs it built."""

    model_config = ConfigDict(defer_build=False)


class Listed(Shown, Generic[Item]):
    """A page of a list."""

    items: Many[Item]
    cursor: str | None = Field(
        description="The next page is behind it: hand it back as `after`. None: this is the last."
    )

    @classmethod
    def of(cls, page: Page[Item]) -> Self:
        """Return a page as it is shown."""
        return cls(items=page.items, cursor=page.cursor)


class SessionListed(SessionSummary, Shown):
    """A session, as a list shows it."""


class SessionShown(SessionListed):
    """A session, with what is kept in it."""

    conversation_id: ConversationId
    parent_id: SessionId | None
    ai_model: str | None
    template: str | None
    visibility: Visibility
    shares: dict[str, Permission] = Field(description="By user.")
    idle_timeout: float | None = Field(description="Seconds without activity that make it idle.")
    lifetime: float | None = Field(description="Seconds from a refresh to its end.")
    data: dict[str, JsonValue]
    metadata: dict[str, JsonValue]
    conflicts: int = Field(description="How many are open.")
    blocked_by: str | None = Field(description="The parked input that all others wait for.")

    @classmethod
    def of(cls, state: SessionState) -> "SessionShown":
        """Return what is shown of a session."""
        profile = state.profile
        return cls(
            **dict(summary_of(state)),
            conversation_id=state.conversation_id,
            parent_id=profile.parent_id,
            ai_model=profile.ai_model,
            template=profile.template,
            visibility=profile.visibility,
            shares=profile.shares,
            idle_timeout=profile.idle_timeout,
            lifetime=profile.lifetime,
            data=state.data,
            metadata=state.metadata,
            conflicts=len(state.conflicts),
            blocked_by=state.blocked_by,
        )


class Published(Shown):
    """What became of a message."""

    committed: bool = Field(description="It is in its session; or else it will be, once, or parked.")
    input_id: InputId = Field(description="Its idempotency key within its conversation.")
    conversation_id: ConversationId
    session_id: SessionId | None = Field(default=None, description="Where it is, once committed.")
    message: str | None = Field(default=None, description="Its key in the history, if it is a message of its own.")
    version: int | None = Field(default=None, description="Of the conversation, once committed.")
    repeated: bool = Field(default=False, description="It was there before; nothing changed now.")


class Said(Shown):
    """A message that is in a session's history now."""

    session_id: SessionId
    message: MessageKey | None = Field(description="Its key in the history.")
    version: int
    repeated: bool = Field(description="It was there before; nothing changed now.")


class ParkedListed(Shown):
    """A parked input, as a list shows it."""

    parked_id: ParkedId
    status: ParkedStatus
    code: str = Field(description="The error's name in snake case, such as schema_violation.")
    reason: str
    conversation_id: ConversationId | None
    message_id: str
    queue: str = Field(description="The queue that it came from.")
    attempts: int
    parked_at: Timestamp
    size: int = Field(description="Bytes of its body.")

    @classmethod
    def of(cls, parked: ParkedInput) -> "ParkedListed":
        """Return what a list shows of a parked input."""
        return cls(**_parked(parked))


class ParkedShown(ParkedListed):
    """A parked input, with its original bytes."""

    stack: str = Field(description="Where it failed, if it failed unexpectedly.")
    body: str = Field(description="The original bytes, in Base64 (RFC 4648).")

    @classmethod
    def of(cls, parked: ParkedInput) -> "ParkedShown":
        """Return what is shown of a parked input."""
        return cls(**_parked(parked), stack=parked.stack, body=b64encode(parked.body).decode())


class WorkerShown(Member):
    """A worker that is at work."""

    kind: WorkerKind


class Workers(Shown):
    """The workers that are at work, of every kind."""

    items: Many[WorkerShown]


class JobShown(Job, defer_build=False):
    """A job, and how far it is."""

    by: str | None = Field(default=None, description="Who started it: `key:ID`, or `user:ID` for a token.")  # type: ignore[assignment] # shown as trails show it

    @classmethod
    def of(cls, job: Job) -> "JobShown":
        """Return a job as it is shown."""
        return cls(**(dict(job) | {"by": str(job.by) if job.by else None}))


def _parked(parked: ParkedInput) -> dict[str, Any]:
    shown = parked.model_dump(include={*ParkedListed.model_fields})
    return shown | {"size": parked.size or len(parked.body)}
