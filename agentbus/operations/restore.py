"""Restoring a backup: verified first, then into an empty store directly, or through the sessions' owners."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from pydantic import TypeAdapter, ValidationError

from agentbus.composition.app import App, make_archive, make_bus, make_clock, make_store, need_backups
from agentbus.composition.running import embedded
from agentbus.contracts.backup import BackupFormat, Manifest
from agentbus.contracts.errors import BackupDamaged, BackupError, SchemaViolation
from agentbus.contracts.ids import SessionIdField
from agentbus.contracts.members import WorkerKind
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.recovery import Outcome, RecoveryStrategy, RestoredSession, RestoreRun
from agentbus.operations.backup import show_backup
from agentbus.operations.store_info import ALIVE
from agentbus.storage.archive import ArchiveStore
from agentbus.storage.backup import BackupPlace, BackupReader
from agentbus.storage.backup.exported import is_exported, suffix_of
from agentbus.storage.backup.verifying import Checked, Fault, verify
from agentbus.storage.encryption import keys_of
from agentbus.storage.port import Store
from agentbus.workers.archive.receipts import Receipts
from agentbus.workers.concurrency import passing_over
from agentbus.workers.installation.joining import check_installation
from agentbus.workers.recovery import Difference, Erasures, RecoveryOptions, Target, look, restore
from agentbus.workers.recovery.direct import is_unused
from agentbus.workers.recovery.exporting import convert_exported
from agentbus.workers.recovery.exporting import export_session as write_session
from agentbus.workers.recovery.exporting import import_session as read_session
from agentbus.workers.recovery.running import Restoring

if TYPE_CHECKING:
    from agentbus.settings import Settings

__all__ = [
    "Checked", "Difference", "Outcome", "RecoveryOptions", "RecoveryStrategy", "RestoreRun", "RestoredSession",
    "export_session", "import_session", "is_exported", "restore_backup", "restore_into", "suffix_of",
]  # fmt: skip

Steps = AsyncGenerator[Checked | RestoredSession | RestoreRun, None]


async def restore_backup(
    settings: "Settings", backup_id: str, options: RecoveryOptions, *, dry_run: bool = False
) -> Steps:
    """Restore a backup to the settings' store; yield how much was verified, and what became of each session.

    All of the backup is read and verified before anything is touched. An empty store that nobody uses is written
    directly. In any other one the sessions' owners decide: the workers of the settings' broker, if some are at work on
    the store, else this process. With `dry_run` nothing is changed. Interrupted, it goes on when it is run again.
    Raises BackupNotFound, BackupDamaged, BackupRefused, StoreError, BusError, ConfigurationError.
    """
    async with make_store(settings) as store:
        place, archive = need_backups(settings, store), make_archive(settings, store)
        manifest = await show_backup(place, backup_id)
        async with aclosing(_verified(place, manifest.backup_id)) as checks:
            async for checked in checks:
                yield checked
        if dry_run or await is_unused(store, BackupReader(place, manifest)):
            bus = make_bus(settings)
            app = App(settings=settings, bus=bus, store=store, clock=make_clock())
            async with aclosing(restore_into(app, place, manifest, archive, options, dry_run=dry_run)) as steps:
                async for step in steps:
                    yield step
            return
        async with (
            _owners(settings, store) as app,
            aclosing(restore_into(app, place, manifest, archive, options, directly=False)) as steps,
        ):
            async for step in steps:
                yield step


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
    steps = restore(_target(app), reader, options, Erasures(receipts), directly=directly)
    async with aclosing(steps):
        async for step in steps:
            yield step
    for record in newer:
        await app.store.records.put(record, replace=False)


async def verified(place: BackupPlace, backup_id: str) -> None:
    """Read every byte of a backup. Raises BackupDamaged for the first fault, BackupNotFound."""
    async with aclosing(_verified(place, backup_id)) as checks:
        async for _ in checks:
            pass


async def export_session(settings: "Settings", session: str, form: BackupFormat, path: Path | None = None) -> Path:
    """Write a session with its history to a file, and return its path: `<session>.<format>` by default.

    In the place of the session the path of an exported one may be given: it is written in another format. Raises
    SessionNotFound, TransitionForbidden, ArchiveError, StoreError, BackupError.
    """
    signing = _signing(settings)
    if (source := Path(session)).is_file():
        target = path or Path(f"{source.name.partition('.')[0]}.{suffix_of(form)}")
        await convert_exported(source, target, form, signing)
        return target
    async with make_store(settings) as store:
        return await export_from(store, make_archive(settings, store), session, form, path=path, signing=signing)


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


async def import_session(settings: "Settings", path: Path, options: RecoveryOptions) -> RestoredSession:
    """Bring an exported session into the settings' store, through its owner as `restore_backup` does.

    Raises BackupNotFound, BackupDamaged, BackupRefused, StoreError, BusError.
    """
    async with make_store(settings) as store, _owners(settings, store) as app:
        return await import_into(app, path, options, make_archive(settings, store), _signing(settings))


async def import_into(
    app: App, path: Path, options: RecoveryOptions, archive: ArchiveStore | None, signing: bytes | None
) -> RestoredSession:
    """Bring an exported session into an AgentBus at work, as `import_session` does."""
    erasures = Erasures(await Receipts.load(app.store, archive))
    restoring = Restoring(_target(app), options, erasures, f"import-{uuid4().hex}")
    return await read_session(restoring, path, signing)


def _target(app: App) -> Target:
    return Target(store=app.store, commands=app.commands, topology=app.bus.topology, clock=app.clock)


def _signing(settings: "Settings") -> bytes | None:
    key = settings.backup.backup_key
    return key.encode() if key else None


async def _verified(place: BackupPlace, backup_id: str) -> AsyncGenerator[Checked, None]:
    async with aclosing(verify(place, backup_id)) as steps:
        async for step in steps:
            if isinstance(step, Fault):
                raise BackupDamaged(f"nothing was restored: {step.path}: {step.reason}", file=step.path)
            yield step


@asynccontextmanager
async def _owners(settings: "Settings", store: Store) -> AsyncIterator[App]:
    """Give an AgentBus whose session workers decide: those that are at work on the store, or else one in here."""
    group = WorkerKind.SESSION.group(settings.topology.prefix)
    if await store.members.live(group, ttl=ALIVE):
        async with make_bus(settings) as bus:
            await check_installation(store, bus.topology)
            await bus.check()
            yield App(settings=settings, bus=bus, store=store, clock=make_clock())
    else:
        async with embedded(settings, store) as app:
            yield app


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
