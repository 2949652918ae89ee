"""Session stores: contexts kept and found, without anything to start and stop by hand but the store itself."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

from agentbus.contracts.errors import ConfigurationError, SchemaViolation
from agentbus.contracts.history import SessionFilter
from agentbus.contracts.sync import SyncPolicy
from agentbus.sessions.config import SessionSystemConfig
from agentbus.sessions.model.context import SessionContext
from agentbus.sessions.model.types import StorageType
from agentbus.sessions.model.validation import checking
from agentbus.sessions.system import SessionSystem

_FILTERS: Final = {"user_id": "owner", "chat_id": "chat"}
"""What fields of a context are called in a filter."""


class SessionStore(ABC):
    """A place where sessions are kept, used as an async context manager."""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @abstractmethod
    async def start(self) -> None:
        """Open the store. Idempotent."""

    @abstractmethod
    async def stop(self) -> None:
        """Close the store. Idempotent."""

    @abstractmethod
    async def create(self, **session: Any) -> SessionContext:
        """Create a session of the arguments of `SessionManager.create_session`, and return it."""

    @abstractmethod
    async def get(self, session_id: str) -> SessionContext | None:
        """Return a session with its latest messages, or None."""

    @abstractmethod
    async def update(self, context: SessionContext) -> bool:
        """Save what was changed; return whether there was something. Raises SessionNotFound, EditConflict."""

    @abstractmethod
    async def delete(self, session_id: str) -> bool:
        """Delete a session; return whether there was one."""

    @abstractmethod
    async def find_sessions(self, **filters: Any) -> list[SessionContext]:
        """Return the sessions that match all filters: user_id, agent_id, parent_id, tags, status, platform, chat_id.

        Those are fields of a session context; the other fields of `SessionFilter` can be named too. Raises
        SchemaViolation for a filter that there is not.
        """

    @abstractmethod
    async def cleanup_expired(self) -> int:
        """Expire the sessions whose time has come; return how many."""

    @abstractmethod
    async def get_session_count(self) -> int:
        """Return how many sessions there are, those that ended included."""


class _EmbeddedStore(SessionStore):
    """A session store over a session system in this process."""

    def __init__(self, storage_type: StorageType, **storage_config: Any) -> None:
        config = SessionSystemConfig(storage_type=storage_type, storage_config=storage_config, enable_cleanup=False)
        self.manager = SessionSystem(config)
        self.sync_policy: SyncPolicy | None = None
        """The policy that is kept when it starts, as that of all identities that have none of their own."""

    async def start(self) -> None:
        if self.manager.is_running:
            return
        await self.manager.start()
        if self.sync_policy is not None:
            try:
                await self.manager.set_sync_policy(self.sync_policy)
            except BaseException:
                await self.manager.stop()
                raise

    async def stop(self) -> None:
        await self.manager.stop()

    async def create(self, **session: Any) -> SessionContext:
        return await self.manager.create_session(**session)

    async def get(self, session_id: str) -> SessionContext | None:
        return await self.manager.get_session(session_id)

    async def update(self, context: SessionContext) -> bool:
        return await self.manager.update_session(context)

    async def delete(self, session_id: str) -> bool:
        return await self.manager.delete_session(session_id)

    async def find_sessions(self, **filters: Any) -> list[SessionContext]:
        named = {_FILTERS.get(name, name): value for name, value in filters.items()}
        if unknown := named.keys() - SessionFilter.model_fields.keys():
            raise SchemaViolation(f"sessions can't be found by {', '.join(sorted(unknown))}")
        with checking("sessions can't be found like that"):
            where = SessionFilter(**named)
        return await self.manager.find_sessions(where)

    async def cleanup_expired(self) -> int:
        return await self.manager.cleanup_all_expired()

    async def get_session_count(self) -> int:
        return (await self.manager.get_statistics()).total


class MemorySessionStore(_EmbeddedStore):
    """Sessions in memory, gone when the process ends."""

    def __init__(self) -> None:
        super().__init__(StorageType.MEMORY)


class FileSessionStore(_EmbeddedStore):
    """Sessions as JSON files in a folder, which several processes of one machine may use."""

    def __init__(self, storage_dir: str | Path) -> None:
        super().__init__(StorageType.FILE, storage_dir=str(storage_dir))


class DatabaseSessionStore(_EmbeddedStore):
    """Sessions in a SQLite database."""

    def __init__(self, db_path: str | Path) -> None:
        super().__init__(StorageType.DATABASE, db_path=str(db_path))


def create_session_state_tracker(session_store: SessionStore) -> SessionSystem:
    """Switch on tracking in a session store, before it is started, and return the system whose calls tell of it.

    Raises ConfigurationError for a store that was started already, or that is not one of ours.
    """
    return _switched_on(session_store, enable_tracking=True).manager


def create_expiry_manager(session_store: SessionStore, archive_dir: str | Path | None = None) -> SessionSystem:
    """Switch on expiry rules in a session store, before it is started, and return the system whose calls keep them.

    Sessions that a rule archives go to `archive_dir`, a folder or any fsspec URL. Raises ConfigurationError as
    `create_session_state_tracker` does.
    """
    place = {} if archive_dir is None else {"archive_dir": archive_dir}
    return _switched_on(session_store, enable_expiry=True, **place).manager


def create_session_sync(
    session_store: SessionStore, sync_config: SyncPolicy | Mapping[str, Any] | None = None
) -> SessionSystem:
    """Switch on sync in a session store, before it is started, and return the system whose calls link and sync.

    `sync_config` is the policy of all identities that have none of their own, or fields of one; it is kept when the
    store starts. None: whatever policy is kept there. Raises SchemaViolation for a policy that can't be, and
    ConfigurationError as `create_session_state_tracker` does.
    """
    with checking("there is no such sync policy"):
        policy = None if sync_config is None else SyncPolicy.model_validate(sync_config)
    store = _switched_on(session_store, enable_sync=True)
    if policy is not None:
        store.sync_policy = policy
    return store.manager


def create_session_persistence(session_store: SessionStore, backup_dir: str | Path | None = None) -> SessionSystem:
    """Switch on backups in a session store, before it is started, and return the system whose calls make them.

    They are in `backup_dir`, a folder or any fsspec URL; None: where AGENTBUS_BACKUP_URL says. Raises
    ConfigurationError as `create_session_state_tracker` does.
    """
    place = {} if backup_dir is None else {"backup_dir": backup_dir}
    return _switched_on(session_store, enable_persistence=True, **place).manager


def _switched_on(session_store: SessionStore, **values: Any) -> _EmbeddedStore:
    if not isinstance(session_store, _EmbeddedStore):
        name = type(session_store).__name__
        raise ConfigurationError(f"{name} has no session system whose features could be switched on: use SessionSystem")
    if session_store.manager.is_running:
        raise ConfigurationError("the session store was started already: switch its features on first")
    session_store.manager.config.update(values)
    return session_store
