"""Long work that somebody starts and others look at."""

from enum import StrEnum

from pydantic import Field, JsonValue

from agentbus.contracts.base import Announced, Id, Timestamp
from agentbus.contracts.errors import AgentBusError
from agentbus.contracts.operators import Operator


class JobKind(StrEnum):
    """What a job does."""

    BACKUP = "backup"
    """It makes a backup."""
    VERIFY = "verify"
    """It reads all files of a backup, or of all of them."""
    PRUNE = "prune"
    """It removes backups that are not kept."""
    RESTORE = "restore"
    """It restores a backup."""


class JobState(StrEnum):
    """How a job is."""

    RUNNING = "running"
    """It is carried out."""
    DONE = "done"
    """It came to its end."""
    FAILED = "failed"
    """It ended by an error."""
    CANCELLED = "cancelled"
    """Somebody cancelled it."""
    INTERRUPTED = "interrupted"
    """The process that carried it out ended. Start it again: a backup and a restore go on from where they were."""


class Job(Announced):
    """A job, and how far it is."""

    job_id: Id
    kind: JobKind
    about: str = Field(default="", description="The backup that it is about, if it is named.")
    state: JobState = JobState.RUNNING
    by: Operator | None = Field(default=None, description="Who started it.")
    started_at: Timestamp
    seen_at: Timestamp = Field(description="When it was last heard of.")
    progress: dict[str, JsonValue] = Field(default_factory=dict, description="How far it is.")
    result: dict[str, JsonValue] | None = Field(default=None, description="What it came to, once it is done.")
    code: str | None = Field(default=None, description="Of the error that it ended by.")
    reason: str | None = Field(default=None, description="What went wrong, in words.")


class JobNotFound(AgentBusError):
    """There is no such job."""


class JobRunning(AgentBusError):
    """Another job is under way: wait for its end, or cancel it."""
