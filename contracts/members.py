"""Workers as members of a group: who is there, and what each one owns."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, NewType

from pydantic import Field, ValidationError

from agentbus.contracts.base import Announced, Many, Timestamp
from agentbus.contracts.ids import Partition

WorkerId = NewType("WorkerId", str)
"""One running worker process: made up at its start, never used again."""


class WorkerStatus(StrEnum):
    """What a worker does at the moment."""

    RUNNING = "running"
    """It takes its share of the partitions."""
    DRAINING = "draining"
    """It finishes what it has begun and takes no more; its share goes to the others."""
    UNKNOWN = "unknown"
    """A later release's word. As far as this release can tell it takes no share."""

    @classmethod
    def _missing_(cls, value: object) -> "WorkerStatus | None":
        return cls.UNKNOWN if isinstance(value, str) else None


class WorkerKind(StrEnum):
    """What a worker is there for; those of a kind form a group."""

    SESSION = "session"
    """It consumes partitions and keeps their sessions."""
    INGRESS = "ingress"
    """It finds the partition for publishers that don't."""
    EXPIRY = "expiry"
    """It ends sessions by rules and by their own deadlines."""
    SYNC = "sync"
    """It shares context between linked sessions."""
    TRACKING = "tracking"
    """It keeps figures of how sessions are used."""
    GATEWAY = "gateway"
    """It takes what platforms post."""
    BACKUP = "backup"
    """It makes backups when their time has come."""
    OUTBOUND = "outbound"
    """It sends replies to their channels."""
    API = "api"
    """It serves the HTTP API."""

    def group(self, prefix: str) -> str:
        """Return the group that workers of this kind beat in."""
        return prefix if self is WorkerKind.SESSION else f"{prefix}/{self}"


class Member(Announced):
    """A worker, as it describes itself with each heartbeat."""

    worker_id: WorkerId
    host: str
    pid: int
    started_at: Timestamp
    seen_at: Timestamp | None = Field(default=None, description="Its last heartbeat, by the store's clock.")
    status: WorkerStatus = WorkerStatus.RUNNING
    owns: Many[Partition] = Field(default=(), description="The partitions that it consumes as their owner.")
    stands_by: Many[Partition] = Field(default=(), description="Those that it takes over when the owner goes.")
    stopped: Many[Partition] = Field(default=(), description="Those it stopped for a while after too many failures.")
    behind: float = Field(
        default=0.0,
        ge=0,
        description="Seconds for which the oldest input of its partitions has waited that is not acknowledged, on the "
        "broker or in its hands, as far as it saw that.",
    )
    commit_lag: float | None = Field(
        default=None,
        ge=0,
        description="Mean seconds from an input's publishing to its commit, over the last ten seconds; none: no input.",
    )


HANDED_SECONDS: Final = 3600.0
"""Seconds after which hashing decides again about a partition that was handed to another worker."""

MAX_HANDED_SECONDS: Final = 7 * 86_400.0
"""The most that may be asked for."""


class HandBack(Announced):
    """That a partition goes from its owner to another worker, because somebody asked for it, and not by hashing."""

    partition: Partition
    owner: WorkerId = Field(description="Who owned it when this was asked for.")
    to: WorkerId = Field(description="Who gets it. While this worker is not at work, hashing decides.")
    asked_at: Timestamp
    until: Timestamp = Field(description="From then on hashing decides again.")


def member_from(document: Mapping[str, Any]) -> Member:
    """Read what a store keeps of a member, with its `worker_id` and `seen_at`.

    One that this release can't read counts as there, and as taking no share: a row of a later release must not hide
    the others.
    """
    try:
        return Member.model_validate(document)
    except ValidationError:
        seen_at = document["seen_at"]
        return Member(
            worker_id=document["worker_id"],
            host="unknown",
            pid=0,
            started_at=seen_at,
            seen_at=seen_at,
            status=WorkerStatus.UNKNOWN,
        )
