"""The session system of this process: set up once, used by functions of the module."""

from typing import Any

from agentbus.contracts.errors import NotInitialized
from agentbus.sessions.config import make_config
from agentbus.sessions.manager import SessionManager
from agentbus.sessions.model.context import SessionContext
from agentbus.sessions.model.messages import Message
from agentbus.sessions.model.results import Health
from agentbus.sessions.model.types import StorageType
from agentbus.sessions.system import SessionSystem

_systems: list[SessionSystem] = []


async def initialize_sessions(storage_type: StorageType | str = StorageType.MEMORY, **settings: Any) -> SessionSystem:
    """Start a session system and return it; the functions of this module act on it from now on.

    `storage_type` is a storage type or its name, `settings` are the fields of `SessionSystemConfig`:
    `storage_config`, `amqp_url`, `enable_cleanup`, `max_history_per_session`, `idle_timeout` and so on.

    Raises ConfigurationError, FeatureNotEnabled, StoreUnavailable, BusError.
    """
    system = SessionSystem(make_config(storage_type=storage_type, **settings))
    await system.start()
    _systems.append(system)
    return system


async def initialize_basic_sessions() -> SessionManager:
    """Start a session manager in memory, with nothing else running, and return it."""
    return await initialize_sessions(enable_cleanup=False)


async def create_default_session_system(
    storage_type: StorageType | str = StorageType.MEMORY, enable_all_features: bool = True, **settings: Any
) -> SessionSystem:
    """Start a session system with every feature that there is, and return it. Raises as `initialize_sessions` does."""
    return await initialize_sessions(storage_type, enable_all_features=enable_all_features, **settings)


async def shutdown_sessions() -> None:
    """Stop every session system that was initialized. Idempotent."""
    while _systems:
        await _systems.pop().stop()


async def health_check() -> Health:
    """Return the health of the session system, as `SessionSystem.health_check` does. Raises NotInitialized."""
    return await _current().health_check()


def get_session_manager() -> SessionManager:
    """Return the session manager that was initialized last. Raises NotInitialized before that."""
    return _current()


async def create_session(*args: Any, **kwargs: Any) -> SessionContext:
    """Create a session, as `SessionManager.create_session` does. Raises NotInitialized."""
    return await _current().create_session(*args, **kwargs)


async def get_session(session_id: str, *, user_id: str | None = None) -> SessionContext | None:
    """Return a session, as `SessionManager.get_session` does. Raises NotInitialized."""
    return await _current().get_session(session_id, user_id=user_id)


async def add_message(session_id: str, message: Message, *, user_id: str | None = None) -> Message:
    """Add a message, as `SessionManager.add_message_to_session` does. Raises NotInitialized."""
    return await _current().add_message_to_session(session_id, message, user_id=user_id)


def _current() -> SessionSystem:
    if not _systems:
        raise NotInitialized("no session system is running: await initialize_sessions() first")
    return _systems[-1]
