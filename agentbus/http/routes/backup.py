"""Backups: listed; made, verified, removed and restored by jobs."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

from fastapi import Path
from pydantic import Field
from starlette.responses import Response

from agentbus.composition.app import App, need_backups, place_of
from agentbus.composition.persisting import Outcomes, checks_of, named_backup, restore_into
from agentbus.contracts.backup import BackupFormat, Counts, Manifest
from agentbus.contracts.base import Id, Many, Name, Timestamp
from agentbus.contracts.errors import BackupNotFound, FeatureNotEnabled
from agentbus.contracts.jobs import JobKind
from agentbus.contracts.recovery import RecoveryStrategy, RestoredSession
from agentbus.http.calls import Calls, Given, IdempotencyKey, Parts, With, answered
from agentbus.http.routes.archive import in_time
from agentbus.http.shown import JobShown, Shown
from agentbus.operations.api_keys import Role
from agentbus.operations.backup import (
    BackedUp,
    Damaged,
    Fault,
    Keep,
    Wanted,
    keep_of,
    prune_backups,
    show_backup,
    verify_backups,
)
from agentbus.operations.backup import list_backups as all_backups
from agentbus.operations.jobs import Step, Work, result
from agentbus.storage.backup import BackupPlace
from agentbus.storage.damage import tell
from agentbus.workers.backup import back_up
from agentbus.workers.recovery import RecoveryOptions

calls = Calls("backups")

_NAMED: Final = 100
"""Faults, damages and sessions that a job's result names one by one."""

BackupPath = Annotated[str, Path(max_length=64, description="The backup's id, or `latest`.")]


class BackupShown(Shown):
    """A finished backup."""

    backup_id: str
    damage: str | None = Field(default=None, description="Why it can't be read.")
    created_at: Timestamp | None = None
    finished_at: Timestamp | None = None
    description: str = ""
    tags: Many[str] = ()
    base: str | None = Field(default=None, description="The backup whose files it goes on from.")
    encrypted: bool | None = None
    counts: Counts | None = Field(default=None, description="What it holds in all.")
    size: int | None = Field(default=None, description="Bytes of all its files.")

    @classmethod
    def of(cls, manifest: Manifest) -> "BackupShown":
        """Return a backup as it is shown."""
        return cls(**{name: getattr(manifest, name) for name in cls.model_fields if name != "damage"})


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
    found = await in_time(all_backups(_place(parts)))
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
    place = _place(parts)
    if backup_id == "latest" and not await in_time(all_backups(place)):
        raise BackupNotFound
    return answered(BackupShown.of(await in_time(show_backup(place, backup_id))))


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
    work = partial(_backed_up, parts.app, _place(parts), wanted)
    return await _started(parts, JobKind.BACKUP, work, idempotency_key, given=given)


@calls.call("POST", "/backups/prune", Role.ADMIN, answers=JobShown, status=202)
async def prune(parts: With, body: Pruning | None = None, idempotency_key: IdempotencyKey = None) -> Response:
    """Start to remove the backups that are not kept, and those that are named, by a job."""
    given = body or Pruning()
    keep = Keep(last=given.last, daily=given.daily, weekly=given.weekly, monthly=given.monthly)
    chosen = keep_of(parts.app.settings) if keep.everything else keep
    work = partial(_pruned, _place(parts), chosen, given.remove, dry_run=given.dry_run)
    return await _started(parts, JobKind.PRUNE, work, idempotency_key, given=given)


@calls.call("POST", "/backups/verify", Role.ADMIN, answers=JobShown, status=202)
async def verify_all(parts: With, idempotency_key: IdempotencyKey = None) -> Response:
    """Start to read every byte of all backups, by a job: what it came to names each fault."""
    return await _started(parts, JobKind.VERIFY, partial(_verified, _place(parts), None), idempotency_key)


@calls.call("POST", "/backups/{backup_id}/verify", Role.ADMIN, answers=JobShown, status=202)
async def verify_backup(backup_id: BackupPath, parts: With, idempotency_key: IdempotencyKey = None) -> Response:
    """Start to read every byte of a backup, by a job: what it came to names each fault."""
    place = _place(parts)
    named = await _named(place, backup_id)
    return await _started(parts, JobKind.VERIFY, partial(_verified, place, named), idempotency_key, about=named)


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
    given, place = body or Recovery(), _place(parts)
    named = await _named(place, backup_id)
    options = RecoveryOptions(strategy=RecoveryStrategy(given.strategy), preserve_metadata=given.preserve_metadata)
    work = partial(_restored, parts.app, place, named, options, dry_run=given.dry_run)
    return await _started(parts, JobKind.RESTORE, work, idempotency_key, about=named, given=given)


async def _started(
    parts: Parts, kind: JobKind, work: Work, request_id: str | None, *, about: str = "", given: Given | None = None
) -> Response:
    body = given.model_dump_json() if given else ""
    job = await parts.jobs.start(kind, work, about=about, given=body, by=parts.app.by, request_id=request_id)
    return answered(JobShown.of(job), HTTPStatus.ACCEPTED, Location=f"/v1/jobs/{job.job_id}")


async def _backed_up(app: App, place: BackupPlace, wanted: Wanted) -> AsyncGenerator[Step, None]:
    damaged: list[str] = []
    source = place_of(app.settings.store.store_url)
    async with aclosing(back_up(app.store, place, wanted, source=source, clock=app.clock)) as steps:
        async for step in steps:
            match step:
                case BackedUp(part, things, written):
                    yield {"part": part, "things": things, "written": written}
                case Damaged(damage=damage):
                    tell(damage)
                    damaged.append(str(damage)[:1000])
                case Manifest():
                    shown = BackupShown.of(step).model_dump(mode="json")
                    yield result(backup=shown, damaged=len(damaged), damages=[*damaged[:_NAMED]])


async def _verified(place: BackupPlace, backup_id: str | None) -> AsyncGenerator[Step, None]:
    faults: list[Any] = []
    count, files, size = 0, 0, 0
    async with aclosing(verify_backups(place, backup_id)) as steps:
        async for step in steps:
            if isinstance(step, Fault):
                count += 1
                if len(faults) < _NAMED:
                    faults.append({"file": step.path, "reason": step.reason[:1000]})
            else:
                files, size = step.files, step.size
            yield {"files": files, "size": size, "faults": count}
    yield result(files=files, size=size, count=count, faults=faults)


async def _pruned(
    place: BackupPlace, keep: Keep, remove: Sequence[str], *, dry_run: bool
) -> AsyncGenerator[Step, None]:
    pruned = await prune_backups(place, keep, remove=remove, dry_run=dry_run)
    gone = list(pruned.backups)
    yield result(
        dry_run=dry_run, count=len(gone), backups=[*gone[:1000]], files=pruned.swept.files, size=pruned.swept.size
    )


async def _restored(
    app: App, place: BackupPlace, backup_id: str, options: RecoveryOptions, *, dry_run: bool
) -> AsyncGenerator[Step, None]:
    manifest = await named_backup(place, backup_id)
    async with aclosing(checks_of(place, manifest.backup_id)) as checks:
        async for checked in checks:
            yield {"verified_files": checked.files, "verified_size": checked.size}
    came = Outcomes(most=_NAMED)
    steps = restore_into(app, place, manifest, app.archive, options, dry_run=dry_run, directly=False)
    async with aclosing(steps):
        async for step in steps:
            came.note(step)
            if isinstance(step, RestoredSession):
                yield {**came.by_name}
    named = [one.model_copy(update={"reason": one.reason[:1000]}).model_dump(mode="json") for one in came.sessions]
    yield result(
        backup_id=manifest.backup_id,
        dry_run=dry_run,
        epoch=came.epoch,
        outcomes={**came.by_name},
        sessions=[*named],
    )


async def _named(place: BackupPlace, backup_id: str) -> str:
    """Return the id of a backup that there is. Raises BackupNotFound, BackupDamaged, BackupUnavailable."""
    if backup_id == "latest" and not await in_time(all_backups(place)):
        raise BackupNotFound
    return (await in_time(show_backup(place, backup_id))).backup_id


def _place(parts: Parts) -> BackupPlace:
    if parts.app.settings.backup.backup_url is None:
        raise FeatureNotEnabled("no place for backups is set: AGENTBUS_BACKUP_URL")
    return need_backups(parts.app.settings, parts.app.store)
