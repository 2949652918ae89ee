"""Which public calls there are, and what the model makes of each: a new one has to be put somewhere."""

import inspect
from collections.abc import Mapping
from typing import Final

from agentbus.sessions import SessionSystem
from tests.models.library_deeds import DEEDS
from tests.models.library_model import Library
from tests.models.library_moves import RULES

READS: Final = frozenset(
    {
        "find_sessions",
        "get_active_session_count",
        "get_all_active_sessions",
        "get_checkpoint",
        "get_identity",
        "get_latest_checkpoint",
        "get_session",
        "get_session_identity",
        "get_session_messages",
        "get_session_state",
        "get_session_tree",
        "get_sessions_by_user",
        "get_statistics",
        "get_sync_policy",
        "get_template",
        "get_user_session",
        "get_user_sessions",
        "list_checkpoints",
        "list_conflicts",
        "list_children",
        "list_expiry_rules",
        "list_templates",
        "list_user_sessions",
        "session_exists",
        "suggest_links",
    }
)
"""What the look reads."""

ELSEWHERE: Final[Mapping[str, str]] = {
    "start": "the world does it",
    "stop": "the world does it",
    "restart": "a world's managers stay: tests/chaos ends and starts them",
    "health_check": "tells of the process, not of sessions",
    "get_health_check": "tells of the process, not of sessions",
    "get_system_status": "tells of the process, not of sessions",
    "track_event": "kept beside the sessions: tests/sessions/system/test_tracking.py",
    "track_session_state_change": "set_session_state, with words about why",
    "get_tracked_events": "kept beside the sessions: tests/sessions/system/test_tracking.py",
    "predict_session_lifecycle": "by the figures of all sessions: tests/unit/workers/tracking",
    "get_session_usage": "counted from the log: tests/unit/workers/tracking",
    "get_usage_patterns": "counted from the logs: tests/unit/workers/tracking",
    "plot_usage_patterns": "a picture: tests/unit/agentbus/test_plots.py",
    "get_state_statistics": "counted from the logs: tests/unit/workers/tracking",
    "get_state_machine": "the installation's: tests/sessions/system/test_machine.py",
    "set_state_machine": "the installation's: tests/sessions/system/test_machine.py",
    **dict.fromkeys(
        (
            "create_backup",
            "list_backups",
            "verify_backup",
            "delete_backup",
            "cleanup_old_backups",
            "restore_backup",
            "export_session",
            "import_session",
        ),
        "files: tests/sessions/system/test_persistence.py",
    ),
    "lock": "acquire_lock and release_lock around a block",
    "get_audit_log": "told by events, which tests/sessions/access looks at",
    "add_notification_callback": "a matter of the expiry worker",
    "get_expiry_statistics": "counted by the expiry worker, by what it hears",
    "get_sync_history": "read from the logs: tests/sync/test_identities.py",
}
"""What is not played, and why."""

OTHERWISE: Final[Mapping[str, frozenset[str]]] = {
    "create_session": frozenset({"session_type", "account", "thread_id", "max_history", "idle_timeout", "expires_at"}),
    "renew_lock": frozenset({"token"}),  # the number of the holder, in the model
    "release_lock": frozenset({"token"}),
    "update_session": frozenset({"context"}),  # what was read, and the changes to it
}
"""Arguments that the model leaves alone, or calls by another name."""


def public_calls() -> set[str]:
    """Return the names of all that people can call."""
    return {name for name, _ in inspect.getmembers(SessionSystem, callable) if not name.startswith("_")}


def unplayed() -> set[str]:
    """Return the calls that nothing here speaks of."""
    return public_calls() - RULES.keys() - READS - ELSEWHERE.keys()


def played_calls() -> set[str]:
    """Return the calls of the manager that there is a rule for; the other rules are for what is no call of it."""
    return RULES.keys() - DEEDS.keys()


def unknown_arguments(name: str) -> set[str]:
    """Return the arguments of a call that its model does not take."""
    real = inspect.signature(getattr(SessionSystem, name)).parameters.keys()
    return real - inspect.signature(getattr(Library, name)).parameters.keys() - OTHERWISE.get(name, frozenset())
