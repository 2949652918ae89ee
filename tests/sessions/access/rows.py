"""The access matrix: what each public call about a session or an identity needs, and which calls are apart from it."""

import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from agentbus.contracts.errors import AgentBusError, SessionNotFound
from agentbus.contracts.sync import SyncPolicy
from agentbus.sessions import Message, SessionContext, SessionSystem
from agentbus.workers.domain.access import Right
from agentbus.workers.sync.people.suggestions import SuggestionNotFound

WORDS: Final = "no such session, or no access to it"


@dataclass(frozen=True, kw_only=True)
class Place:
    """What a call is about: there, missing, or deleted."""

    session: str
    other: str
    """Linked to the same identity."""
    checkpoint: str
    identity: str
    suggestion: str
    context: SessionContext
    """As it was read, with a change."""
    token: int
    """Of the session's lock."""


Call = Callable[[SessionSystem, Place, Any], Awaitable[object]]


SAME: Final = object()


@dataclass(frozen=True)
class Row:
    """A call: the right that it needs, and what it says to the application itself of what is not there."""

    right: Right
    call: Call
    missing: type[AgentBusError] | object = field(default=SessionNotFound, kw_only=True)
    """An error, or what it returns; an ellipsis for whatever that is."""
    gone: type[AgentBusError] | object = field(default=SAME, kw_only=True)
    """The same for what was deleted, where that is something else."""
    syncs: bool = field(default=False, kw_only=True)
    tracks: bool = field(default=False, kw_only=True)
    persists: bool = field(default=False, kw_only=True)
    refuses: bool = field(default=True, kw_only=True)
    """It raises AccessDenied; otherwise it returns `hidden`, as if there were nothing."""
    hidden: object = field(default=None, kw_only=True)
    deleted: object = field(default=None, kw_only=True)
    """What it gives an owner whose session was deleted, if it does not refuse."""


async def _locked(system: SessionSystem, place: Place, user: Any) -> None:
    async with system.lock(place.session, user_id=user, timeout=5):
        pass


async def _exported(system: SessionSystem, place: Place, user: Any) -> str:
    with tempfile.TemporaryDirectory() as folder:
        return (await system.export_session(place.session, path=Path(folder) / "it.json", user_id=user)).name


async def _each_deleted(system: SessionSystem, place: Place, user: Any) -> bool | None:
    [result] = await system.delete_sessions([place.session], user_id=user)
    if result.error:
        raise result.error
    return result.value


READ, WRITE, OWN = Right.READ, Right.WRITE, Right.OWN

ROWS: Final[dict[str, Row]] = {
    "get_session": Row(READ, lambda s, at, who: s.get_session(at.session, user_id=who), missing=None),
    "get_session_state": Row(READ, lambda s, at, who: s.get_session_state(at.session, user_id=who), missing=None),
    "track_event": Row(WRITE, lambda s, at, who: s.track_event(at.session, "custom", user_id=who), tracks=True),
    "track_session_state_change": Row(
        WRITE, lambda s, at, who: s.track_session_state_change(at.session, "suspended", user_id=who), tracks=True
    ),
    "get_tracked_events": Row(READ, lambda s, at, who: s.get_tracked_events(at.session, user_id=who), tracks=True),
    "predict_session_lifecycle": Row(
        READ, lambda s, at, who: s.predict_session_lifecycle(at.session, user_id=who), tracks=True
    ),
    "get_session_usage": Row(READ, lambda s, at, who: s.get_session_usage(at.session, user_id=who), tracks=True),
    "export_session": Row(READ, _exported, persists=True),
    "session_exists": Row(
        READ, lambda s, at, who: s.session_exists(at.session, user_id=who), missing=False, refuses=False, hidden=False
    ),
    "get_session_messages": Row(READ, lambda s, at, who: s.get_session_messages(at.session, who)),
    "list_checkpoints": Row(READ, lambda s, at, who: s.list_checkpoints(at.session, user_id=who)),
    "get_latest_checkpoint": Row(READ, lambda s, at, who: s.get_latest_checkpoint(at.session, user_id=who)),
    "get_checkpoint": Row(READ, lambda s, at, who: s.get_checkpoint(at.checkpoint, user_id=who), missing=None),
    "list_children": Row(READ, lambda s, at, who: s.list_children(at.session, user_id=who)),
    "get_session_tree": Row(READ, lambda s, at, who: s.get_session_tree(at.session, user_id=who)),
    "add_message": Row(WRITE, lambda s, at, who: s.add_message(at.session, who, "user", "hi")),
    "add_message_to_session": Row(
        WRITE, lambda s, at, who: s.add_message_to_session(at.session, Message(content="hi"), user_id=who)
    ),
    "update_session": Row(WRITE, lambda s, at, who: s.update_session(at.context, user_id=who)),
    "update_session_metadata": Row(
        WRITE, lambda s, at, who: s.update_session_metadata(at.session, {"a": 1}, user_id=who)
    ),
    "extend_session_lifetime": Row(WRITE, lambda s, at, who: s.extend_session_lifetime(at.session, 60, user_id=who)),
    "refresh_session": Row(WRITE, lambda s, at, who: s.refresh_session(at.session, user_id=who)),
    "reset_session_history": Row(WRITE, lambda s, at, who: s.reset_session_history(at.session, user_id=who)),
    "set_session_state": Row(WRITE, lambda s, at, who: s.set_session_state(at.session, "suspended", user_id=who)),
    "set_session_state to an end": Row(
        OWN, lambda s, at, who: s.set_session_state(at.session, "archived", user_id=who)
    ),
    "apply_template": Row(WRITE, lambda s, at, who: s.apply_template(at.session, "kept", user_id=who)),
    "save_checkpoint": Row(WRITE, lambda s, at, who: s.save_checkpoint(at.session, {}, user_id=who)),
    "restore_checkpoint": Row(WRITE, lambda s, at, who: s.restore_checkpoint(at.session, at.checkpoint, user_id=who)),
    "delete_checkpoint": Row(WRITE, lambda s, at, who: s.delete_checkpoint(at.checkpoint, user_id=who), missing=False),
    "clear_checkpoints": Row(WRITE, lambda s, at, who: s.clear_checkpoints(at.session, user_id=who)),
    "acquire_lock": Row(WRITE, lambda s, at, who: s.acquire_lock(at.other, user_id=who)),
    "renew_lock": Row(WRITE, lambda s, at, who: s.renew_lock(at.session, at.token, user_id=who), missing=...),
    "release_lock": Row(WRITE, lambda s, at, who: s.release_lock(at.session, at.token, user_id=who), missing=...),
    "lock": Row(WRITE, lambda s, at, who: _locked(s, Place(**{**vars(at), "session": at.other}), who)),
    "create_session": Row(WRITE, lambda s, at, who: s.create_session(user_id=who, parent_id=at.session)),
    "share_session": Row(OWN, lambda s, at, who: s.share_session(at.session, who, "zoe")),
    "revoke_share": Row(OWN, lambda s, at, who: s.revoke_share(at.session, who, "zoe")),
    "set_visibility": Row(OWN, lambda s, at, who: s.set_visibility(at.session, who, "public")),
    "get_audit_log": Row(OWN, lambda s, at, who: s.get_audit_log(at.session, user_id=who)),
    "close_session": Row(OWN, lambda s, at, who: s.close_session(at.session, user_id=who)),
    "delete_session": Row(
        OWN, lambda s, at, who: s.delete_session(at.session, user_id=who), missing=False, deleted=False
    ),
    "delete_sessions": Row(OWN, _each_deleted, missing=False, deleted=False),
    "link_identities": Row(OWN, lambda s, at, who: s.link_identities("ann", [at.session], user_id=who), syncs=True),
    "unlink_identity": Row(OWN, lambda s, at, who: s.unlink_identity(at.session, user_id=who), syncs=True),
    "get_identity": Row(
        READ, lambda s, at, who: s.get_identity(at.identity, user_id=who), syncs=True, missing=None, gone=...
    ),
    "get_session_identity": Row(READ, lambda s, at, who: s.get_session_identity(at.session, user_id=who), syncs=True),
    "create_claim_code": Row(OWN, lambda s, at, who: s.create_claim_code(at.session, user_id=who), syncs=True),
    "suggest_links": Row(
        OWN, lambda s, _, who: s.suggest_links(user_id=who), syncs=True, missing=..., refuses=False, hidden=[]
    ),
    "confirm_link": Row(
        OWN,
        lambda s, at, who: s.confirm_link(at.suggestion, user_id=who),
        syncs=True,
        missing=SuggestionNotFound,
        gone=SessionNotFound,
    ),
    "dismiss_link": Row(
        OWN,
        lambda s, at, who: s.dismiss_link(at.suggestion, user_id=who),
        syncs=True,
        missing=SuggestionNotFound,
        gone=None,
    ),
    "list_conflicts": Row(
        OWN,
        lambda s, at, who: _listed(s.list_conflicts(at.identity, user_id=who)),
        syncs=True,
        missing=[],
        refuses=False,
        hidden=[],
    ),
    "resolve_session_conflicts": Row(
        OWN, lambda s, at, who: s.resolve_session_conflicts([at.session], "latest_wins", user_id=who), syncs=True
    ),
    "get_sync_history": Row(OWN, lambda s, at, who: s.get_sync_history(at.session, user_id=who), syncs=True),
    "get_sync_history of an identity": Row(
        OWN, lambda s, at, who: s.get_sync_history(identity_key=at.identity, user_id=who), syncs=True, missing=...
    ),
    "sync_sessions": Row(OWN, lambda s, at, who: s.sync_sessions(at.session, user_id=who), syncs=True),
    "get_sync_policy": Row(
        READ, lambda s, at, who: s.get_sync_policy(at.identity, user_id=who), syncs=True, missing=...
    ),
    "set_sync_policy": Row(
        OWN, lambda s, at, who: s.set_sync_policy(SyncPolicy(), at.identity, user_id=who), syncs=True, missing=...
    ),
}
"""By the call's name; a second row of a call has more words."""


async def _listed(page: Awaitable[Any]) -> list[Any]:
    return list(await page)


APART: Final[dict[str, str]] = {
    **dict.fromkeys(("get_usage_patterns", "plot_usage_patterns", "get_state_statistics"), "figures of all sessions"),
    **dict.fromkeys(("get_state_machine", "set_state_machine"), "the installation's"),
    **dict.fromkeys(
        ("start", "stop", "restart", "health_check", "get_health_check", "get_system_status"), "the system"
    ),
    **dict.fromkeys(
        ("create_backup", "list_backups", "verify_backup", "delete_backup", "cleanup_old_backups", "restore_backup"),
        "of all sessions",
    ),
    "import_session": "whosever it was",
    **dict.fromkeys(("cleanup_all_expired", "cleanup_expired_sessions", "batch_cleanup"), "by time, whosever they are"),
    **dict.fromkeys(
        ("add_expiry_rule", "remove_expiry_rule", "enable_expiry_rule", "list_expiry_rules", "get_expiry_statistics"),
        "rules are for all sessions",
    ),
    "add_notification_callback": "told of all sessions",
    **dict.fromkeys(("save_template", "get_template", "list_templates", "delete_template"), "templates are nobody's"),
    **dict.fromkeys(("create_sessions", "restore_or_create_session"), "the user is whose session it becomes"),
    **dict.fromkeys(
        (
            "list_user_sessions",
            "get_user_session",
            "get_user_sessions",
            "get_sessions_by_user",
            "get_active_session_count",
            "get_statistics",
            "delete_user_sessions",
            "delete_agent_sessions",
        ),
        "the user says whose sessions are meant",
    ),
    **dict.fromkeys(("find_sessions", "get_all_active_sessions"), "all sessions, for the application itself"),
}
"""Calls about no session or identity in particular, and what they are about."""

NAMES_ONE: Final = frozenset(
    {"session_id", "session_ids", "source_session_id", "checkpoint_id", "suggestion_id", "identity_key"}
)
"""Arguments by which a call is about one."""
CHECKED: Final = frozenset({"user_id", "owner_id"})
