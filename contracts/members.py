"""Workers as members of a group: who is there, and what each one owns."""

from enum import StrEnum
from typing import NewType

from pydantic import Field

from contracts.base import Announced, Timestamp
from contracts.ids import Partition

WorkerId = NewType("WorkerId", str)
"""One running worker process: made up at its start, never used again."""


class WorkerStatus(StrEnum):
    """What a worker does at the moment."""

    RUNNING = "running"
    """It takes its share of the partitions."""
    DRAINING = "draining"
    """It finishes what it has begun and takes no more; its share goes to the others."""


class Member(Announced):
    """A worker, as it describes itself with each heartbeat."""

    worker_id: WorkerId
    host: str
    pid: int
    started_at: Timestamp
    seen_at: Timestamp | None = Field(default=None, description="Its last heartbeat, by the store's clock.")
    status: WorkerStatus = WorkerStatus.RUNNING
    owns: tuple[Partition, ...] = Field(default=(), description="The partitions that it consumes as their owner.")
    stands_by: tuple[Partition, ...] = Field(default=(), description="Those that it takes over when the owner goes.")
    stopped: tuple[Partition, ...] = Field(default=(), description="Those it stopped after too many failures.")
