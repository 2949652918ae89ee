"""Uses of the session API that type checkers take, and the types that they find in them. Nothing here is run."""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, assert_type

from agentbus.sessions import (
    AgentBusError,
    AuditEntry,
    BackupFormat,
    BatchResult,
    CacheInfo,
    Checkpoint,
    CleanupReport,
    ConfigManager,
    ContextManager,
    Count,
    FileSessionStore,
    Health,
    LimitPolicy,
    Manifest,
    MemorySessionStore,
    Message,
    MessageType,
    Page,
    Permission,
    Platform,
    RecoveryOptions,
    RecoveryStrategy,
    RestoredSession,
    RestoreReport,
    Role,
    SessionContext,
    SessionManager,
    SessionStatistics,
    SessionStatus,
    SessionStore,
    SessionSystem,
    SessionSystemConfig,
    SessionTree,
    StorageType,
    Template,
    add_message,
    create_default_session_system,
    create_session,
    get_production_config,
    get_session,
    get_session_manager,
    health_check,
    initialize_basic_sessions,
    initialize_sessions,
    register_provider,
    session_context,
    shutdown_sessions,
    with_session,
)
from agentbus.storage.memory import MemoryStore


async def start_and_stop() -> None:
    assert_type(await initialize_sessions(), SessionSystem)
    assert_type(await initialize_sessions("DATABASE", storage_config={"db_path": "a.db"}), SessionSystem)
    assert_type(await initialize_sessions(StorageType.MONGODB, amqp_url="amqp://there"), SessionSystem)
    assert_type(await initialize_basic_sessions(), SessionManager)
    assert_type(await create_default_session_system(), SessionSystem)
    assert_type(get_session_manager(), SessionManager)
    assert_type(await create_session("chat", "user", "web"), SessionContext)
    assert_type(await get_session("id"), SessionContext | None)
    assert_type(await add_message("id", Message(content="hello")), Message)
    assert_type(await health_check(), Health)
    assert_type(await shutdown_sessions(), None)


async def system(config: SessionSystemConfig) -> None:
    async with SessionSystem(config) as running:
        assert_type(running, SessionSystem)
        assert_type(await running.cleanup_expired_sessions(dry_run=True), CleanupReport)
        assert_type(await running.get_system_status(), dict[str, Any])
        assert_type(await running.health_check(), Health)


async def backups(running: SessionSystem) -> None:
    made = await running.create_backup("json_gz", incremental=True)
    assert_type(made, Manifest)
    assert_type(await running.list_backups(), list[Manifest])
    options = RecoveryOptions(strategy=RecoveryStrategy.MERGE, preserve_metadata=True)
    assert_type(await running.restore_backup(made.backup_id, options, dry_run=True), RestoreReport)
    assert_type(await running.export_session("id", BackupFormat.JSON), Path)
    assert_type(await running.import_session("it.json"), RestoredSession)


async def sessions(manager: SessionManager) -> None:
    session = await manager.create_session("chat", "user", Platform.WEB, expires_in=60, custom_data={"a": [1, None]})
    assert_type(session, SessionContext)
    assert_type(session.status, SessionStatus)
    assert_type(session.platform, Platform | None)
    assert_type(session.last_activity, datetime)
    assert_type(session.conversation_history, list[Message])
    assert_type(session.get_data("a"), Any)
    assert_type(session.is_active(), bool)
    assert_type(await manager.get_session(session.session_id, user_id="user"), SessionContext | None)
    assert_type(await manager.get_user_session("user", "chat", "web"), SessionContext | None)
    assert_type(await manager.get_user_sessions("user"), list[SessionContext])
    assert_type(await manager.update_session(session, on_conflict="overwrite"), bool)
    assert_type(await manager.delete_session(session.session_id), bool)
    assert_type(await manager.extend_session_lifetime(session.session_id, 1.5), SessionContext)
    assert_type(await manager.get_session_state(session.session_id), SessionStatus | None)
    assert_type(await manager.batch_cleanup(), Count)
    assert_type(await manager.create_sessions([{"user_id": "user"}]), list[BatchResult[SessionContext]])
    assert_type((await manager.delete_sessions(["id"]))[0].error, AgentBusError | None)


async def messages(manager: SessionManager) -> None:
    message = Message(content="x", message_type=MessageType.IMAGE)
    assert_type(message.role, Role | None)
    assert_type(await manager.add_message_to_session("id", message, fence=3), Message)
    assert_type(await manager.add_message("id", None, "assistant", "hello"), Message)
    page = await manager.get_session_messages("id")
    assert_type(page, Page[Message])
    assert_type(page.cursor, str | None)


async def lists(manager: SessionManager) -> None:
    assert_type(await manager.list_user_sessions("user", "active", ["vip"], 5), Page[SessionContext])
    assert_type(manager.get_all_active_sessions(), AsyncIterator[SessionContext])
    async for session in manager.get_all_active_sessions():
        assert_type(session, SessionContext)
    assert_type(await manager.get_session_tree("id"), SessionTree)
    figures = await manager.get_statistics()
    assert_type(figures, SessionStatistics)
    assert_type(figures.by_status, dict[SessionStatus, int])


async def access(manager: SessionManager) -> None:
    await manager.share_session("id", "owner", "other", Permission.WRITE)
    await manager.share_session("id", "owner", "other", "read")
    entries = await manager.get_audit_log("id")
    assert_type(entries, Page[AuditEntry])
    assert_type(entries.items[0].actor, str | None)


async def keeping(manager: SessionManager) -> None:
    assert_type(await manager.save_checkpoint("id", {"a": 1}), str)
    kept = await manager.get_latest_checkpoint("id")
    assert_type(kept, Checkpoint | None)
    if kept:
        assert_type(kept["data"], Any)
        assert_type(kept.data, Mapping[str, Any])
    async with manager.lock("id") as token:
        assert_type(token, int)
    assert_type(await manager.acquire_lock("id", timeout=1), int)
    assert_type(await manager.release_lock("id", 1), bool)
    assert_type(await manager.save_template("name", context={"a": 1}), Template)


async def blocks(manager: SessionManager) -> None:
    async with session_context(manager, chat_id="chat", user_id="user", platform="web", tags=["vip"]) as session:
        assert_type(session, SessionContext)

    @with_session(manager)
    async def handle(session: SessionContext, text: str) -> int:
        return len(text) + session.version

    assert_type(await handle("hello", chat_id="chat", user_id="user", platform="web"), int)


async def stores() -> None:
    kinds: list[SessionStore] = [MemorySessionStore(), FileSessionStore("folder")]
    async with MemorySessionStore() as store:
        assert_type(store, MemorySessionStore)
        assert_type(await store.get("id"), SessionContext | None)
        assert_type(await store.find_sessions(owner="user"), list[SessionContext])
        assert_type(await kinds[0].get_session_count(), int)


async def cache(manager: SessionManager, session: SessionContext) -> None:
    contexts = ContextManager(manager, capacity=10)
    assert_type(await contexts.get("id"), SessionContext | None)
    assert_type(await contexts.get_many(["id"]), dict[str, SessionContext])
    assert_type(await contexts.set_many([session]), dict[str, AgentBusError | None])
    assert_type(contexts.info(), CacheInfo)
    assert_type(contexts.info().hit_rate, float)
    assert_type(ContextManager.deserialize(ContextManager.serialize(session)), SessionContext)


def configuration() -> None:
    config = get_production_config({"url": "mongodb://there"})
    assert_type(config.update({"on_limit": LimitPolicy.CLOSE_OLDEST}), SessionSystemConfig)
    assert_type(ConfigManager("sessions.toml").load(), SessionSystemConfig)
    register_provider("mine", lambda _: MemoryStore())
