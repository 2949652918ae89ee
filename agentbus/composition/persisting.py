"""Restoring, exporting and importing in an AgentBus at work: what commands and calls share."""

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from pydantic import TypeAdapter, ValidationError

from agentbus.composition.app import App
from agentbus.contracts.backup import BackupFormat, Manifest
from agentbus.contracts.errors import BackupDamaged, BackupError, SchemaViolation
from agentbus.contracts.ids import SessionIdField
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.recovery import Outcome, RestoredSession, RestoreRun
from agentbus.storage.archive import ArchiveStore
from agentbus.storage.backup import BackupPlace, BackupReader
from agentbus.storage.backup.exported import suffix_of
from agentbus.storage.backup.verifying import Checked, Fault, verify
from agentbus.storage.encryption import keys_of
from agentbus.storage.port import Store
from agentbus.workers.archive.receipts import Receipts, keep_brought
from agentbus.workers.concurrency import passing_over
from agentbus.workers.recovery import Erasures, RecoveryOptions, Target, look, restore
from agentbus.workers.recovery.exporting import export_session as write_session
from agentbus.workers.recovery.exporting import import_session as read_session
from agentbus.workers.recovery.running import Restoring

if TYPE_CHECKING:
    from agentbus.settings import Settings


@dataclass(slots=True)
class Outcomes:
    """What a restore has come to so far, whatever it is shown to."""

    most: int
    """How many sessions are named one by one."""
    counts: Counter[Outcome] = field(default_factory=Counter)
    """How many sessions had which."""
    sessions: list[RestoredSession] = field(default_factory=list)
    """The first of those that are not the same."""
    epoch: int | None = None
    """Of the restore; None for a dry run."""

    def note(self, step: RestoredSession | RestoreRun) -> None:
        """Count what `restore_into` has yielded."""
        if isinstance(step, RestoreRun):
            self.epoch = step.epoch
            return
        self.counts[step.outcome] += 1
        if step.outcome is not Outcome.SAME and len(self.sessions) < self.most:
            self.sessions.append(step)

    @property
    def by_name(self) -> dict[str, int]:
        """The counts by the names of the outcomes, in their order."""
        return {outcome.value: count for outcome, count in sorted(self.counts.items())}


async def named_backup(place: BackupPlace, backup_id: str) -> Manifest:
    """Return what a backup is; the latest for `latest`. Raises BackupNotFound, BackupDamaged, BackupUnavailable."""
    if backup_id == "latest" and (latest := await place.latest()):
        return latest
    return await place.manifest(backup_id)


async def restore_into(
    app: App,
    place: BackupPlace,
    manifest: Manifest,
    archive: ArchiveStore | None,
    options: RecoveryOptions,
    *,
    dry_run: bool = False,
    directly: bool = True,
) -> AsyncGenerator[RestoredSession | RestoreRun, None]:
    """Restore a backup that was verified, as `workers.recovery.restore` does, or look what that would do."""
    reader = BackupReader(place, manifest, keys=keys_of(app.store))
    newer = await _newer_erasures(app.store, place, manifest)
    receipts = (await Receipts.load(app.store, archive)).and_those_in(newer)
    if dry_run:
        async with aclosing(look(app.store, reader, options, Erasures(receipts))) as rows:
            async for row in rows:
                yield row
        return
    erasures = Erasures(receipts)
    steps = restore(_target(app), reader, options, erasures, directly=directly)
    async with aclosing(steps):
        async for step in steps:
            yield step
    told = [*newer, *erasures.told]
    if erasures.in_use:
        await _erase_again(app, archive, told)
    await keep_brought(app.store, told)


async def _erase_again(app: App, archive: ArchiveStore | None, told: list[Record]) -> None:
    """Erase who is in the store, and was erased by what backups say: the store may be from before that."""
    from agentbus.workers.erasure.users import Erasing, reapply_erasures  # noqa: PLC0415 - for few restores

    if not (await Receipts.load(app.store, None)).has_all_of(told):
        await reapply_erasures(Erasing(app.store, archive, app.commands, app.clock), told)


async def verified(place: BackupPlace, backup_id: str) -> None:
    """Read every byte of a backup. Raises BackupDamaged for the first fault, BackupNotFound."""
    async with aclosing(checks_of(place, backup_id)) as checks:
        async for _ in checks:
            pass


async def export_from(
    store: Store,
    archive: ArchiveStore | None,
    session: str,
    form: BackupFormat,
    *,
    path: Path | None = None,
    signing: bytes | None = None,
) -> Path:
    """Write a session of an open store to a file, as `export_session` does."""
    try:
        session_id = TypeAdapter(SessionIdField).validate_python(session)
    except ValidationError as error:
        raise SchemaViolation(f"{session!r:.60} is no session id") from error
    target = path or Path(f"{session_id}.{suffix_of(form)}")
    await write_session(store, archive, session_id, target, form, signing=signing)
    return target


async def import_into(
    app: App, path: Path, options: RecoveryOptions, archive: ArchiveStore | None, signing: bytes | None
) -> RestoredSession:
    """Bring an exported session into an AgentBus at work, as `import_session` does."""
    erasures = Erasures(await Receipts.load(app.store, archive))
    restoring = Restoring(_target(app), options, erasures, f"import-{uuid4().hex}")
    return await read_session(restoring, path, signing)


def _target(app: App) -> Target:
    return Target(store=app.store, commands=app.commands, topology=app.bus.topology, clock=app.clock)


def signing_of(settings: "Settings") -> bytes | None:
    """Return the key that pickles are signed with."""
    key = settings.backup.backup_key
    return key.encode() if key else None


async def checks_of(place: BackupPlace, backup_id: str) -> AsyncGenerator[Checked, None]:
    """Read every byte of a backup; yield how much was. Raises BackupDamaged for the first fault."""
    async with aclosing(verify(place, backup_id)) as steps:
        async for step in steps:
            if isinstance(step, Fault):
                raise BackupDamaged(f"nothing was restored: {step.path}: {step.reason}", file=step.path)
            yield step


async def _newer_erasures(store: Store, place: BackupPlace, manifest: Manifest) -> list[Record]:
    """Return what the latest backup knows of erasures, if that is a later one: those it was made after stay done."""
    found: list[Record] = []
    latest = await place.latest()
    if latest is None or latest.backup_id <= manifest.backup_id:
        return found
    with passing_over(BackupError):  # Damaged, or of other keys: that must not keep an older one from being restored.
        async with aclosing(BackupReader(place, latest, keys=keys_of(store)).records()) as records:
            found.extend([record async for record in records if record.kind is RecordKind.ERASURE])
    return found
