"""Backups of all sessions, and one session in a file."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agentbus.sessions import (
    BackupCheck,
    BackupDamaged,
    BackupError,
    BackupFormat,
    BackupNotFound,
    BackupRefused,
    ConfigurationError,
    Difference,
    Manifest,
    MemorySessionStore,
    Outcome,
    RecoveryOptions,
    RecoveryStrategy,
    RestoredSession,
    RestoreReport,
    SessionSystem,
    create_session_persistence,
)
from tests.tour.registry import shows
from tests.tour.world import World


@asynccontextmanager
async def persistence(world: World) -> AsyncIterator[tuple[SessionSystem, Path]]:
    with tempfile.TemporaryDirectory() as folder:
        async with world.another(enable_persistence=True, backup_dir=folder) as system:
            yield system, Path(folder)


@shows("SessionSystem.create_backup")
@shows("SessionSystem.list_backups")
@shows("SessionSystem.verify_backup")
@shows("SessionSystem.delete_backup")
@shows("SessionSystem.cleanup_old_backups")
@shows("BackupFormat")
@shows("BackupCheck")
@shows("Manifest")
@shows("BackupNotFound")
async def show_backups(world: World) -> None:
    async with persistence(world) as (system, _):
        await system.create_session(world.name("chat"), world.name(), "telegram")
        made = await system.create_backup(BackupFormat.JSON_GZ, "the tour", ["tour"])
        assert isinstance(made, Manifest)
        assert made.file_format is BackupFormat.JSON_GZ
        check = await system.verify_backup(made.backup_id)
        assert isinstance(check, BackupCheck)
        assert check
        later = await system.create_backup(incremental=True)
        assert {made.backup_id, later.backup_id} <= {one.backup_id for one in await system.list_backups()}
        await system.cleanup_old_backups(keep_last=1)
        assert [one.backup_id for one in await system.list_backups()] == [later.backup_id]
        await system.delete_backup(later.backup_id)
        with pytest.raises(BackupNotFound):
            await system.verify_backup(later.backup_id)


@shows("SessionSystem.restore_backup")
@shows("RecoveryOptions")
@shows("RecoveryStrategy")
@shows("RestoreReport")
@shows("Outcome")
@shows("Difference")
@shows("BackupDamaged")
async def show_restore_backup(world: World) -> None:
    asked: list[Difference] = []

    def ask(difference: Difference) -> RecoveryStrategy:
        asked.append(difference)
        return RecoveryStrategy.REPLACE if difference.session_id == session.session_id else RecoveryStrategy.SKIP

    async with persistence(world) as (system, folder):
        session = await system.create_session(world.name("chat"), world.name(), "telegram")
        await system.add_message(session.session_id, session.user_id, "user", "before")
        made = await system.create_backup()
        await system.add_message(session.session_id, session.user_id, "user", "after")
        left = await system.restore_backup(made.backup_id, RecoveryOptions(strategy="skip"))
        assert isinstance(left, RestoreReport)
        assert {row.session_id: row.outcome for row in left.sessions}[session.session_id] is Outcome.SKIPPED
        options = RecoveryOptions(strategy=RecoveryStrategy.INTERACTIVE, ask=ask)
        assert options.chosen is RecoveryStrategy.INTERACTIVE
        done = await system.restore_backup(made.backup_id, options)
        assert {row.session_id: row.outcome for row in done.sessions}[session.session_id] is Outcome.REPLACED
        assert session.session_id in {one.session_id for one in asked}
        page = await system.get_session_messages(session.session_id)
        assert [one.content for one in page.items] == ["before"]
        for file in (folder / "files" / made.backup_id).iterdir():
            file.write_bytes(file.read_bytes()[:-1])
        with pytest.raises(BackupDamaged):
            await system.restore_backup(made.backup_id)


@shows("SessionSystem.export_session")
@shows("SessionSystem.import_session")
@shows("RestoredSession")
@shows("BackupRefused")
@shows("BackupError")
async def show_export_session(world: World) -> None:
    async with persistence(world) as (system, folder):
        session = await system.create_session(world.name("chat"), world.name(), "telegram")
        path = await system.export_session(session.session_id, "json_gz", folder / "it.json.gz")
        row = await system.import_session(path)
        assert isinstance(row, RestoredSession)
        assert (row.session_id, row.outcome) == (session.session_id, Outcome.SAME)
        with pytest.raises(BackupRefused) as refused:
            await system.export_session(session.session_id, "pickle", folder / "it.pickle")
        assert isinstance(refused.value, BackupError)


@shows("create_session_persistence")
async def show_create_session_persistence(world: World) -> None:
    store = MemorySessionStore()
    with tempfile.TemporaryDirectory() as folder:
        persisting = create_session_persistence(store, folder)
        async with store:
            await store.create(chat_id=world.name("chat"), user_id=world.name(), platform="web")
            assert await persisting.verify_backup((await persisting.create_backup()).backup_id)
            with pytest.raises(ConfigurationError):
                create_session_persistence(store, folder)
