"""Restoring a backup: verified first, then into an empty store directly, or through the sessions' owners."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from agentbus.composition.app import App, make_archive, make_bus, make_clock, make_store, need_backups
from agentbus.composition.persisting import (
    Outcomes,
    checks_of,
    export_from,
    import_into,
    named_backup,
    restore_into,
    signing_of,
)
from agentbus.composition.running import embedded
from agentbus.contracts.backup import BackupFormat, Manifest
from agentbus.contracts.members import WorkerKind
from agentbus.contracts.recovery import Outcome, RecoveryStrategy, RestoredSession, RestoreRun
from agentbus.operations.store_info import ALIVE
from agentbus.storage.backup import BackupReader
from agentbus.storage.backup.exported import is_exported, suffix_of
from agentbus.storage.backup.verifying import Checked
from agentbus.storage.port import Store
from agentbus.workers.installation.joining import check_installation
from agentbus.workers.recovery import Difference, RecoveryOptions
from agentbus.workers.recovery.direct import is_unused
from agentbus.workers.recovery.exporting import convert_exported

if TYPE_CHECKING:
    from agentbus.settings import Settings

__all__ = [
    "Checked", "Difference", "Outcome", "Outcomes", "RecoveryOptions", "RecoveryStrategy", "RestoreRun",
    "RestoredSession", "export_session", "import_session", "is_exported", "restore_backup", "suffix_of",
]  # fmt: skip

Steps = AsyncGenerator[Manifest | Checked | RestoredSession | RestoreRun, None]


async def restore_backup(
    settings: "Settings", backup_id: str, options: RecoveryOptions, *, dry_run: bool = False
) -> Steps:
    """Restore a backup to the settings' store; yield what it is, how much was verified, what became of each session.

    All of the backup is read and verified before anything is touched. An empty store that nobody uses is written
    directly. In any other one the sessions' owners decide: the workers of the settings' broker, if some are at work on
    the store, else this process. With `dry_run` nothing is changed. Interrupted, it goes on when it is run again.
    Raises BackupNotFound, BackupDamaged, BackupRefused, StoreError, BusError, ConfigurationError.
    """
    async with make_store(settings) as store:
        place, archive = need_backups(settings, store), make_archive(settings, store)
        manifest = await named_backup(place, backup_id)
        yield manifest
        async with aclosing(checks_of(place, manifest.backup_id)) as checks:
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


async def export_session(settings: "Settings", session: str, form: BackupFormat, path: Path | None = None) -> Path:
    """Write a session with its history to a file, and return its path: `<session>.<format>` by default.

    In the place of the session the path of an exported one may be given: it is written in another format. Raises
    SessionNotFound, TransitionForbidden, ArchiveError, StoreError, BackupError.
    """
    signing = signing_of(settings)
    if (source := Path(session)).is_file():
        target = path or Path(f"{source.name.partition('.')[0]}.{suffix_of(form)}")
        await convert_exported(source, target, form, signing)
        return target
    async with make_store(settings) as store:
        return await export_from(store, make_archive(settings, store), session, form, path=path, signing=signing)


async def import_session(settings: "Settings", path: Path, options: RecoveryOptions) -> RestoredSession:
    """Bring an exported session into the settings' store, through its owner as `restore_backup` does.

    Raises BackupNotFound, BackupDamaged, BackupRefused, StoreError, BusError.
    """
    async with make_store(settings) as store, _owners(settings, store) as app:
        return await import_into(app, path, options, make_archive(settings, store), signing_of(settings))


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
