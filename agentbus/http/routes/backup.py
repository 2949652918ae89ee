"""Backups: listed; made, verified, removed and restored by jobs."""

from functools import partial
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import Path
from pydantic import Field
from starlette.responses import Response

from agentbus.contracts.backup import BackupFormat
from agentbus.contracts.base import Id, Many, Name
from agentbus.contracts.jobs import JobKind
from agentbus.contracts.recovery import RecoveryStrategy
from agentbus.http.backing_up import (
    BackupShown,
    backing_up,
    find_backup,
    place_in,
    removing,
    restoring,
    verifying,
)
from agentbus.http.calls import Calls, Given, IdempotencyKey, Parts, With, answered
from agentbus.http.routes.archive import in_time
from agentbus.http.shown import JobShown, Shown
from agentbus.operations.api_keys import Role
from agentbus.operations.backup import Keep, Wanted, keep_of
from agentbus.operations.backup import list_backups as all_backups
from agentbus.operations.jobs import Work
from agentbus.workers.recovery import RecoveryOptions

calls = Calls("backups")

BackupPath = Annotated[str, Path(max_length=64, description="The backup's id, or `latest`.")]


class Backups(Shown):
    """All finished backups, the latest first."""

    items: Many[BackupShown]


class NewBackup(Given):
    """What kind of backup is made."""

    format: BackupFormat | None = Field(default=None, description="How its files are written; without it as set.")
    incremental: bool = Field(default=False, description="It is enough to read what changed since the latest one.")
    description: str = Field(default="", max_length=1000)
    tags: Annotated[Many[Name], Field(max_length=100)] = ()


class Pruning(Given):
    """Which backups stay; without any number, as the settings say."""

    last: int = Field(default=0, ge=0, le=100_000, description="The latest.")
    daily: int = Field(default=0, ge=0, le=100_000, description="The latest of each day.")
    weekly: int = Field(default=0, ge=0, le=100_000, description="The latest of each week.")
    monthly: int = Field(default=0, ge=0, le=100_000, description="The latest of each month.")
    remove: Annotated[Many[Id], Field(max_length=1000)] = Field(default=(), description="These go in any case.")
    dry_run: bool = Field(default=False, description="Nothing is removed: it is told what would be.")


class Recovery(Given):
    """How a backup is restored."""

    strategy: Literal["merge", "replace", "skip"] = Field(
        default="merge", description="What is done about a session that is there already, and differs."
    )
    preserve_metadata: bool = Field(default=True, description="Whether metadata, tags and times come back too.")
    dry_run: bool = Field(default=False, description="Nothing is changed: it is told what would become of sessions.")


@calls.call("GET", "/backups", Role.READ, answers=Backups)
async def list_backups(parts: With) -> Response:
    """List all finished backups, the latest first."""
    found = await in_time(all_backups(place_in(parts.app)))
    shown = [
        BackupShown.of(one.manifest)
        if one.manifest
        else BackupShown(backup_id=one.backup_id, damage="its manifest can't be read")
        for one in found
    ]
    return answered(Backups(items=tuple(shown)))


@calls.call("GET", "/backups/{backup_id}", Role.READ, answers=BackupShown)
async def get_backup(backup_id: BackupPath, parts: With) -> Response:
    """Return what a backup is."""
    return answered(BackupShown.of(await in_time(find_backup(place_in(parts.app), backup_id))))


@calls.call("POST", "/backups", Role.ADMIN, answers=JobShown, status=202)
async def create_backup(parts: With, body: NewBackup | None = None, idempotency_key: IdempotencyKey = None) -> Response:
    """Start a backup of all that the store holds, by a job. One that was interrupted is gone on with."""
    given = body or NewBackup()
    settings = parts.app.settings
    wanted = Wanted(
        file_format=given.format or settings.backup.backup_format,
        incremental=given.incremental,
        description=given.description,
        tags=given.tags,
    )
    work = partial(backing_up, parts.app, place_in(parts.app), wanted)
    return await _started(parts, JobKind.BACKUP, work, idempotency_key, given=given)


@calls.call("POST", "/backups/prune", Role.ADMIN, answers=JobShown, status=202)
async def prune(parts: With, body: Pruning | None = None, idempotency_key: IdempotencyKey = None) -> Response:
    """Start to remove the backups that are not kept, and those that are named, by a job."""
    given = body or Pruning()
    keep = Keep(last=given.last, daily=given.daily, weekly=given.weekly, monthly=given.monthly)
    chosen = keep_of(parts.app.settings) if keep.everything else keep
    work = partial(removing, place_in(parts.app), chosen, given.remove, dry_run=given.dry_run)
    return await _started(parts, JobKind.PRUNE, work, idempotency_key, given=given)


@calls.call("POST", "/backups/verify", Role.ADMIN, answers=JobShown, status=202)
async def verify_all(parts: With, idempotency_key: IdempotencyKey = None) -> Response:
    """Start to read every byte of all backups, by a job: what it came to names each fault."""
    return await _started(parts, JobKind.VERIFY, partial(verifying, place_in(parts.app), None), idempotency_key)


@calls.call("POST", "/backups/{backup_id}/verify", Role.ADMIN, answers=JobShown, status=202)
async def verify_backup(backup_id: BackupPath, parts: With, idempotency_key: IdempotencyKey = None) -> Response:
    """Start to read every byte of a backup, by a job: what it came to names each fault."""
    place = place_in(parts.app)
    named = (await in_time(find_backup(place, backup_id))).backup_id
    return await _started(parts, JobKind.VERIFY, partial(verifying, place, named), idempotency_key, about=named)


@calls.call("POST", "/backups/{backup_id}/restore", Role.ADMIN, answers=JobShown, status=202)
async def restore_backup(
    backup_id: BackupPath,
    parts: With,
    body: Recovery | None = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Start to restore a backup, by a job: all of it is verified first, then each session comes back by its owner.

    A session worker must run. One that was interrupted is gone on with.
    """
    given, place = body or Recovery(), place_in(parts.app)
    named = (await in_time(find_backup(place, backup_id))).backup_id
    options = RecoveryOptions(strategy=RecoveryStrategy(given.strategy), preserve_metadata=given.preserve_metadata)
    work = partial(restoring, parts.app, place, named, options, dry_run=given.dry_run)
    return await _started(parts, JobKind.RESTORE, work, idempotency_key, about=named, given=given)


async def _started(
    parts: Parts, kind: JobKind, work: Work, request_id: str | None, *, about: str = "", given: Given | None = None
) -> Response:
    body = given.model_dump_json() if given else ""
    job = await parts.jobs.start(kind, work, about=about, given=body, by=parts.app.by, request_id=request_id)
    return answered(JobShown.of(job), HTTPStatus.ACCEPTED, Location=f"/v1/jobs/{job.job_id}")
