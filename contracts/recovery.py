"""Restoring backups: what is done about a session that is there already, and what became of each."""

from enum import StrEnum

from pydantic import Field

from agentbus.contracts.backup import BackupId
from agentbus.contracts.base import Announced, Timestamp
from agentbus.contracts.ids import Lineage, SessionIdField


class RecoveryStrategy(StrEnum):
    """What becomes of a session that is in the backup and in the store too, and differs."""

    MERGE = "merge"
    """It gets the messages that it lacks, and of each field the later value; nothing is taken away."""
    REPLACE = "replace"
    """It is what it was in the backup; what came later stays in its log and is not shown."""
    SKIP = "skip"
    """It stays as it is."""
    INTERACTIVE = "interactive"
    """Somebody is asked, session by session."""


class Outcome(StrEnum):
    """What became of a session of a backup, or would."""

    CREATED = "created"
    """It was not there, or was deleted: it is back."""
    MERGED = "merged"
    """It got what it lacked."""
    REPLACED = "replaced"
    """It is what it was in the backup."""
    SAME = "same"
    """It had all of it already."""
    SKIPPED = "skipped"
    """It stays as it is, or away; the reason says why."""
    FAILED = "failed"
    """It could not be restored; the reason says why."""


class RestoredSession(Announced):
    """What became of a session of a backup, or would."""

    session_id: SessionIdField
    outcome: Outcome
    reason: str = ""


class RestoreRun(Announced):
    """A restore, as the store keeps it: the next one has the next epoch."""

    epoch: int = Field(ge=1, description="Counts the store's restores; what one brought back carries it.")
    backup_id: BackupId
    strategy: RecoveryStrategy
    preserve_metadata: bool = True
    begun_at: Timestamp
    lineage: Lineage | None = Field(default=None, description="What marks all that happens after it.")
    finished_at: Timestamp | None = Field(default=None, description="None: it was interrupted, and is gone on with.")
    outcomes: dict[Outcome, int] = Field(default_factory=dict, description="How many sessions had which.")

    @property
    def name(self) -> str:
        """What its commands and commits are marked with."""
        return f"restore-{self.epoch}"
