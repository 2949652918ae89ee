"""Sessions, the library people import.

```python
from agentbus.sessions import Message, initialize_sessions, session_context, shutdown_sessions

system = await initialize_sessions("DATABASE", storage_config={"db_path": "sessions.db"})
async with session_context(system, chat_id="42", user_id="ann", platform="telegram") as session:
    session.add_message(Message(content="hello", user_id="ann"))
    session.increment("step")
await shutdown_sessions()
```

Embedded it runs everything in this process; with `amqp_url=` the same calls go to the session workers there.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from agentbus.contracts.errors import (
    AccessDenied,
    AgentBusError,
    BackupDamaged,
    BackupError,
    BackupNotFound,
    BackupRefused,
    BusError,
    ConfigurationError,
    EditConflict,
    FeatureNotEnabled,
    IdentityConflict,
    LimitExceeded,
    LockLost,
    LockTimeout,
    NotInitialized,
    Refused,
    ReplyTimeout,
    RequestReused,
    SchemaViolation,
    SessionNotCurrent,
    SessionNotFound,
    StoreError,
    StoreUnavailable,
    TransitionForbidden,
)
from agentbus.contracts.expiry import CleanupAction, Conditions, ExpiryRule, ExpiryStrategy, Step
from agentbus.contracts.machine import ChangedBy, OwnState, StateMachine, StateTransition, TransitionGuard
from agentbus.contracts.messages import Role
from agentbus.contracts.records import SessionStatistics
from agentbus.contracts.sync import Conflict, ConflictStrategy, Identity, SyncMode, SyncOperation, SyncPolicy
from agentbus.contracts.tracking import EventType, SessionEnding, StateTransitionType, TrackedEvent, Usage
from agentbus.sessions.cache import CacheInfo, ContextManager
from agentbus.sessions.config import (
    ConfigManager,
    SessionSystemConfig,
    get_development_config,
    get_production_config,
)
from agentbus.sessions.current import (
    add_message,
    create_default_session_system,
    create_session,
    get_session,
    get_session_manager,
    health_check,
    initialize_basic_sessions,
    initialize_sessions,
    shutdown_sessions,
)
from agentbus.sessions.manager import SessionManager
from agentbus.sessions.model.context import SessionContext
from agentbus.sessions.model.messages import Message
from agentbus.sessions.model.results import Count, Health, HealthStatus, Page
from agentbus.sessions.model.types import (
    ChildPolicy,
    ConflictPolicy,
    LimitPolicy,
    MessageType,
    Permission,
    Platform,
    SessionStatus,
    SessionType,
    StorageType,
    Visibility,
)
from agentbus.sessions.providers import register_provider
from agentbus.sessions.scoped import session_context, with_session
from agentbus.sessions.sections.access import AuditEntry
from agentbus.sessions.sections.batch import BatchResult
from agentbus.sessions.sections.checkpoints import Checkpoint, CheckpointNotFound
from agentbus.sessions.sections.deadlines import CleanupReport
from agentbus.sessions.sections.listing import SessionTree
from agentbus.sessions.sections.templates import Template, TemplateNotFound
from agentbus.sessions.store import (
    DatabaseSessionStore,
    FileSessionStore,
    MemorySessionStore,
    SessionStore,
    create_expiry_manager,
    create_session_persistence,
    create_session_state_tracker,
    create_session_sync,
)
from agentbus.sessions.system import SessionSystem
from agentbus.workers.domain.expiry import register_condition
from agentbus.workers.domain.tracking.chances import Chances, Prediction
from agentbus.workers.domain.tracking.patterns import Patterns, Period
from agentbus.workers.expiry.statistics import ExpiryStatistics
from agentbus.workers.notify import (
    ExpiryNotice,
    create_email_notification_callback,
    create_webhook_notification_callback,
    default_notification_callback,
)
from agentbus.workers.sync.demand import SyncReport
from agentbus.workers.sync.people.claims import ClaimCode
from agentbus.workers.sync.people.suggestions import Suggestion, SuggestionNotFound
from agentbus.workers.sync.people.trail import SyncNote
from agentbus.workers.tracking.statistics import StateStatistics
from agentbus.workers.tracking.transitions import TransitionTaken, register_transition_handler

if TYPE_CHECKING:  # What it takes to back up is imported by whoever does.
    from agentbus.contracts.backup import BackupFormat, Manifest
    from agentbus.contracts.recovery import Outcome, RecoveryStrategy, RestoredSession
    from agentbus.sessions.sections.persistence import BackupCheck, RestoreReport
    from agentbus.workers.recovery import Difference, RecoveryOptions

__all__ = [
    # Start and stop
    "create_default_session_system",
    "get_session_manager",
    "health_check",
    "initialize_basic_sessions",
    "initialize_sessions",
    "shutdown_sessions",
    # On the system that was initialized last
    "add_message",
    "create_session",
    "get_session",
    # Systems, managers, stores
    "CleanupReport",
    "SessionManager",
    "SessionSystem",
    "SessionStore",
    "DatabaseSessionStore",
    "FileSessionStore",
    "MemorySessionStore",
    "register_provider",
    # Configuration
    "ConfigManager",
    "SessionSystemConfig",
    "get_development_config",
    "get_production_config",
    # Sessions
    "CacheInfo",
    "ContextManager",
    "Message",
    "Page",
    "SessionContext",
    "session_context",
    "with_session",
    # What calls give
    "AuditEntry",
    "BatchResult",
    "Checkpoint",
    "Count",
    "Health",
    "SessionStatistics",
    "SessionTree",
    "Template",
    # Expiry
    "CleanupAction",
    "Conditions",
    "ExpiryNotice",
    "ExpiryRule",
    "ExpiryStatistics",
    "ExpiryStrategy",
    "Step",
    "create_email_notification_callback",
    "create_expiry_manager",
    "create_webhook_notification_callback",
    "default_notification_callback",
    "register_condition",
    # Sync
    "ClaimCode",
    "Conflict",
    "ConflictStrategy",
    "Identity",
    "Suggestion",
    "SuggestionNotFound",
    "SyncMode",
    "SyncNote",
    "SyncOperation",
    "SyncPolicy",
    "SyncReport",
    "create_session_sync",
    # Tracking
    "ChangedBy",
    "Chances",
    "EventType",
    "OwnState",
    "Patterns",
    "Period",
    "Prediction",
    "SessionEnding",
    "StateMachine",
    "StateStatistics",
    "StateTransition",
    "StateTransitionType",
    "TrackedEvent",
    "TransitionGuard",
    "TransitionTaken",
    "Usage",
    "create_session_state_tracker",
    "register_transition_handler",
    # Backups
    "BackupCheck",
    "BackupFormat",
    "Difference",
    "Manifest",
    "Outcome",
    "RecoveryOptions",
    "RecoveryStrategy",
    "RestoreReport",
    "RestoredSession",
    "create_session_persistence",
    # Small types
    "ChildPolicy",
    "ConflictPolicy",
    "HealthStatus",
    "LimitPolicy",
    "MessageType",
    "Permission",
    "Platform",
    "Role",
    "SessionStatus",
    "SessionType",
    "StorageType",
    "Visibility",
    # Errors
    "AccessDenied",
    "AgentBusError",
    "BackupDamaged",
    "BackupError",
    "BackupNotFound",
    "BackupRefused",
    "BusError",
    "CheckpointNotFound",
    "ConfigurationError",
    "EditConflict",
    "FeatureNotEnabled",
    "IdentityConflict",
    "LimitExceeded",
    "LockLost",
    "LockTimeout",
    "NotInitialized",
    "Refused",
    "ReplyTimeout",
    "RequestReused",
    "SchemaViolation",
    "SessionNotCurrent",
    "SessionNotFound",
    "StoreError",
    "StoreUnavailable",
    "TemplateNotFound",
    "TransitionForbidden",
]

_MODULES: Final = {
    "agentbus.contracts.backup": ("BackupFormat", "Manifest"),
    "agentbus.contracts.recovery": ("Outcome", "RecoveryStrategy", "RestoredSession"),
    "agentbus.sessions.sections.persistence": ("BackupCheck", "RestoreReport"),
    "agentbus.workers.recovery": ("Difference", "RecoveryOptions"),
}
"""Where the names come from that are imported when they are first asked for."""


if not TYPE_CHECKING:  # so that a type checker finds a name that is not there

    def __getattr__(name: str) -> Any:
        """Import what is asked for."""
        for module, names in _MODULES.items():
            if name in names:
                found = getattr(import_module(module), name)
                globals()[name] = found
                return found
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
