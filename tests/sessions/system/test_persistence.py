"""Backups of a session system: made, listed, verified, restored while it runs; sessions exported and imported."""

from pathlib import Path

import pytest

from agentbus.sessions import (
    AccessDenied,
    BackupDamaged,
    BackupFormat,
    BackupNotFound,
    BackupRefused,
    ConfigurationError,
    DatabaseSessionStore,
    Difference,
    MemorySessionStore,
    Message,
    Outcome,
    RecoveryOptions,
    RecoveryStrategy,
    SchemaViolation,
    SessionNotFound,
    SessionSystem,
    create_default_session_system,
    create_session_persistence,
)
from agentbus.sessions.config import make_config


def a_system(folder: Path, **more: object) -> SessionSystem:
    settings = {"enable_persistence": True, "backup_dir": folder, "enable_cleanup": False, "partitions": 4} | more
    return SessionSystem(make_config(**settings))


async def texts(system: SessionSystem, session_id: str) -> list[str]:
    page = await system.get_session_messages(session_id)
    return [message.content for message in page.items]


@pytest.mark.parametrize("place", ["path", "text", "url"])
async def test_a_backup_is_made_listed_verified_and_removed(tmp_path: Path, place: str) -> None:
    folder = {"path": tmp_path, "text": str(tmp_path), "url": tmp_path.as_uri()}[place]
    async with a_system(folder) as system:  # type: ignore[arg-type] # each of them
        await system.create_session("chat", "ann", "web")
        made = await system.create_backup("json_gz", "before the move", ["move"])
        assert (made.file_format, made.description, made.tags) == (BackupFormat.JSON_GZ, "before the move", ("move",))
        assert made.backup_id in [one.backup_id for one in await system.list_backups()]
        assert await system.verify_backup(made.backup_id)
        assert (await system.verify_backup("latest")).faults == {}
        again = await system.create_backup(incremental=True)
        assert await system.cleanup_old_backups(1, dry_run=True)
        await system.cleanup_old_backups(1)
        assert [one.backup_id for one in await system.list_backups()] == [again.backup_id]
        await system.delete_backup(again.backup_id)
        assert await system.list_backups() == []
        with pytest.raises(BackupNotFound):
            await system.restore_backup(again.backup_id)


async def test_what_was_changed_and_deleted_comes_back(tmp_path: Path) -> None:
    async with a_system(tmp_path) as system:
        kept = await system.create_session("chat", "ann", "web", custom_data={"step": 1})
        gone = await system.create_session("other", "bob", "web")
        await system.add_message_to_session(kept.session_id, Message(content="one", user_id="ann"))
        made = await system.create_backup()
        await system.add_message_to_session(kept.session_id, Message(content="two", user_id="ann"))
        await system.delete_session(gone.session_id)
        options = RecoveryOptions(strategy=RecoveryStrategy.REPLACE, preserve_metadata=True)
        dry = await system.restore_backup(made.backup_id, options, dry_run=True)
        assert dry.epoch is None
        assert await system.get_session(gone.session_id) is None
        report = await system.restore_backup(made.backup_id, options)
        assert report
        assert report.outcomes == dry.outcomes == {Outcome.REPLACED: 1, Outcome.CREATED: 1}
        assert await texts(system, kept.session_id) == ["one"]
        assert await system.get_session(gone.session_id)
        again = await system.get_session(kept.session_id)
        assert again
        assert again.get_data("step") == 1


async def test_another_system_gets_the_sessions_and_asks_where_they_differ(tmp_path: Path) -> None:
    async with a_system(tmp_path) as system:
        session = await system.create_session("chat", "ann", "web")
        await system.add_message_to_session(session.session_id, Message(content="one", user_id="ann"))
        await system.create_backup()
    asked: list[Difference] = []

    def ask(difference: Difference) -> RecoveryStrategy:
        asked.append(difference)
        return RecoveryStrategy.SKIP

    async with a_system(tmp_path) as system:
        assert (await system.restore_backup("latest")).outcomes == {Outcome.CREATED: 1}
        assert await texts(system, session.session_id) == ["one"]
        await system.add_message_to_session(session.session_id, Message(content="two", user_id="ann"))
        options = RecoveryOptions(strategy="interactive", ask=ask)
        assert (await system.restore_backup("latest", options)).outcomes == {Outcome.SKIPPED: 1}
        assert [one.session_id for one in asked] == [session.session_id]
        assert await texts(system, session.session_id) == ["one", "two"]


async def test_a_damaged_backup_is_named_and_nothing_is_restored(tmp_path: Path) -> None:
    async with a_system(tmp_path) as system:
        session = await system.create_session("chat", "ann", "web")
        made = await system.create_backup()
        await system.delete_session(session.session_id)
        file = max((tmp_path / "files" / made.backup_id).iterdir(), key=lambda one: one.stat().st_size)
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
        check = await system.verify_backup(made.backup_id)
        assert not check
        assert [Path(name).name for name in check.faults] == [file.name]
        with pytest.raises(BackupDamaged, match=file.name):
            await system.restore_backup(made.backup_id)
        assert await system.get_session(session.session_id) is None


@pytest.mark.parametrize("form", [BackupFormat.JSON, "json_gz", "pickle", "pickle_gz"])
async def test_a_session_is_exported_and_imported(
    tmp_path: Path, form: BackupFormat | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTBUS_BACKUP_KEY", "k" * 32)
    path = tmp_path / "it"
    async with a_system(tmp_path) as system:
        session = await system.create_session("chat", "ann", "web", custom_data={"step": 1})
        await system.add_message_to_session(session.session_id, Message(content="one", user_id="ann"))
        assert await system.export_session(session.session_id, form, str(path), user_id="ann") == path
        with pytest.raises(AccessDenied):
            await system.export_session(session.session_id, form, path, user_id="eve")
        with pytest.raises(SessionNotFound):
            await system.export_session("a" * 26 + ".1", form, path)
        with pytest.raises(SchemaViolation):
            await system.export_session(session.session_id, "xml", path)
    async with a_system(tmp_path) as system:
        row = await system.import_session(path)
        assert (row.session_id, row.outcome) == (session.session_id, Outcome.CREATED)
        assert await texts(system, session.session_id) == ["one"]
        assert (await system.import_session(path, "replace")).outcome is Outcome.SAME
        found = await system.get_session(session.session_id)
        assert found
        assert found.get_data("step") == 1


async def test_without_a_place_it_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AGENTBUS_BACKUP_URL", raising=False)
    with pytest.raises(ConfigurationError, match="backup_dir"):
        await SessionSystem(make_config(enable_persistence=True, partitions=4)).start()
    system = await create_default_session_system("MEMORY", partitions=4)
    try:
        session = await system.create_session("chat", "ann", "web")
        with pytest.raises(ConfigurationError, match="backup_dir"):
            await system.create_backup()
        await system.export_session(session.session_id, path=tmp_path / "it.json")
        with pytest.raises(BackupRefused):
            await system.export_session(session.session_id, "pickle", tmp_path / "it")
    finally:
        await system.stop()


async def test_a_session_store_has_backups_switched_on(tmp_path: Path) -> None:
    store = DatabaseSessionStore(tmp_path / "sessions.db")
    persistence = create_session_persistence(store, tmp_path / "backups")
    async with store:
        session = await store.create(chat_id="chat", user_id="ann", platform="web")
        made = await persistence.create_backup()
        await store.delete(session.session_id)
        await persistence.restore_backup(made.backup_id)
        assert await store.get(session.session_id)
        with pytest.raises(ConfigurationError):
            create_session_persistence(store, tmp_path)
    assert isinstance(create_session_persistence(MemorySessionStore()), SessionSystem)
