"""Looking: whether everything that can be read of a library is what its model says."""

import json
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

from agentbus.contracts.errors import AgentBusError
from agentbus.contracts.history import SessionFilter
from agentbus.contracts.ids import SessionId
from agentbus.contracts.session import SessionStatus
from agentbus.contracts.sync import Conflict, ConflictStrategy, Entry, SyncPolicy
from agentbus.sessions import (
    BatchResult,
    CleanupReport,
    ExpiryRule,
    Identity,
    Message,
    SessionContext,
    SessionSystem,
    SyncReport,
)
from agentbus.sessions import Checkpoint as RealCheckpoint
from agentbus.sessions import Template as RealTemplate
from agentbus.workers.sync.people.claims import ANSWERS, ClaimCode
from agentbus.workers.sync.people.suggestions import Suggestion as RealSuggestion
from tests.models.library_model import Cleanup, Library
from tests.models.library_moves import CHATS, FORGOTTEN, STRANGER, TEMPLATES, USERS
from tests.models.library_state import Checkpoint, Code, Offer, Open, Policy, Rule, Said, Session, Suggestion, Template

_MOVED = "move to archive"
"""What follows a rule's step, and is none."""

EVERYBODY = (*USERS, FORGOTTEN, STRANGER)

_FIELDS = (
    "session_id",
    "status",
    "data",
    "metadata",
    "agent_id",
    "parent_id",
    "ai_model",
    "template",
    "tags",
    "visibility",
    "created_at",
    "last_activity",
    "expires_at",
)


def plain(value: Any, most: int = 0) -> Any:  # noqa: PLR0911 -- one return a kind
    """Return what a call gave, or the model's, in one form for both; `most`: how many messages come with a session."""
    match value:
        case SessionContext():
            shown = _fields(value)
            history = [_said(one)[:2] for one in value.conversation_history]
            return shown | {
                "owner": value.user_id,
                "chat": value.chat_id,
                "count": value.message_count,
                "history": history[-most:] if most else [],
            }
        case Session():
            shown = _fields(value)
            history = [_said(one)[:2] for one in value.messages[value.hidden :]]
            return shown | {
                "owner": value.owner,
                "chat": value.chat,
                "count": value.count,
                "history": history[-most:] if most else [],
            }
        case Message() | Said():
            return _said(value)
        case RealCheckpoint() | Checkpoint():
            return (value.checkpoint_id, value.session_id, json.dumps(dict(value.data), sort_keys=True))
        case RealTemplate() | Template():
            return (value.system_prompt, dict(value.context), tuple(value.capabilities))
        case CleanupReport():
            steps = {(one.session_id, one.rule_id, one.action) for one in value.steps if one.action != _MOVED}
            return (sorted(value.expired), sorted(value.idle), sorted(steps))
        case Cleanup():
            return (sorted(value.expired), sorted(value.idle), sorted(value.steps))
        case ExpiryRule():
            return (value.rule_id, value.conditions.idle_for, value.actions[0].action, value.priority, value.enabled)
        case Rule():
            return (value.rule_id, value.idle_for, value.action, value.priority, value.enabled)
        case Identity():
            return sorted(value.session_ids)
        case SyncReport() | Conflict() | Open() | SyncPolicy() | Policy() | ClaimCode() | Code():
            return _of_sync(value)
        case RealSuggestion() | Suggestion():
            return (value.suggestion_id, value.session_ids, value.reason)
        case BatchResult():
            return type(value.error).__name__ if value.error else plain(value.value)
        case Exception():
            return type(value).__name__
        case [Conflict() | Open(), *_]:  # the product's are oldest first, the model's by key
            return sorted((_of_sync(one) for one in value), key=repr)
        case list():
            return [plain(one, most) for one in value]
        case _:
            return value


def _of_sync(value: SyncReport | Conflict | Open | SyncPolicy | Policy | ClaimCode | Code) -> Any:
    match value:
        case SyncReport():
            return {one.session_id: (one.changed, one.conflicts) for one in value.sessions if one.error is None}
        case Conflict():
            return (value.field, _entry(value.held), _entry(value.offered), value.source)
        case Open():
            return (f"/data/{value.key}", _entry(value.held), _entry(value.offered), value.offered.source)
        case SyncPolicy():
            return (value.strategy is ConflictStrategy.MANUAL, value.data)
        case Policy():
            return (value.manual, value.shares)
        case ClaimCode() | Code():
            return (value.session_id, value.expires_at)


def _said(value: Message | Said) -> tuple[str, str, str]:
    """Return a message; of what answers a claim code the id is made of that of an event, which a model has not."""
    content = value.content or ""
    return ("an answer" if content in ANSWERS.values() else value.id, value.content, str(value.role))


def _entry(value: Entry | Offer | None) -> tuple[bool, str] | None:
    """Return whether a value is removed, and which it is."""
    return (value.removed, json.dumps(None if value.removed else value.value)) if value else None


def _fields(value: SessionContext | Session) -> dict[str, Any]:
    """Return what both have; what is kept as JSON is compared as it is written: 1, 1.0 and true differ."""
    shown = {name: getattr(value, name) for name in _FIELDS}
    return shown | {name: json.dumps(shown[name], sort_keys=True) for name in ("data", "metadata")}


async def differences(
    library: Library, manager: SessionSystem, named: Collection[str] | None = None, users: Iterable[str] = EVERYBODY
) -> list[str]:
    """Return where what a manager shows is not what the model says: of the sessions and templates named, or of all.

    Of each session it is looked at whether `users` may see it. One that is named, and that the model does not have, is
    not to be there.
    """
    found: list[str] = []

    def same(what: str, shown: Any, meant: Any) -> None:
        if shown != meant:
            found.append(f"{what}: {_unlike(shown, meant)}")

    sessions = [one for one in library.held.sessions if named is None or one.session_id in named]
    for session in sessions:
        try:
            await _look_at(library, manager, session, same)
            await _look_whether_seen(manager, session, users, same)
        except AgentBusError as error:
            found.append(f"session {session.session_id}: it can't be read: {type(error).__name__}: {error}")
    for one in {*(named or ())} - {*TEMPLATES} - {session.session_id for session in sessions}:
        same(f"session {one}, which is not there", plain(await manager.get_session(one)), None)
    if named is None:
        await _look_at_lists(library, manager, same)
    if named is None or not {*TEMPLATES}.isdisjoint(named):
        templates = {one.name: plain(one) for one in await manager.list_templates()}
        same("templates", templates, {name: plain(one) for name, one in library.held.templates.items()})
    return found


async def _look_at(library: Library, manager: SessionSystem, session: Session, same: Any) -> None:
    named, most = session.session_id, library.options.max_history
    shown = await manager.get_session(named)
    if not session.is_there:
        same(f"deleted session {named}", shown, None)
        same(f"its checkpoints {named}", await _refused(manager.list_checkpoints(named)), "SessionNotFound")
        same(f"its messages {named}", await _refused(manager.get_session_messages(named)), "SessionNotFound")
    else:
        same(f"session {named}", plain(shown, most), plain(session, most))
        # No call shows these, and of two calls at once they say which came first: of two that share with the same user,
        # or that delete a session and begin the next one, which inherits how long it lasts.
        head = await manager._store.heads.get(SessionId(named))
        told = (head.profile.shares, head.profile.lifetime, head.profile.idle_timeout) if head else None
        same(f"the profile of {named}", told, (session.shares, session.lifetime, session.idle_timeout))
        page = await manager.get_session_messages(named, limit=1000)
        same(f"messages of {named}", plain(page.items), plain(session.messages[session.hidden :]))
        kept = await manager.list_checkpoints(named, limit=1000)
        same(f"checkpoints of {named}", plain(kept.items), plain(library.checkpoints_of(named)))
        latest = await manager.get_latest_checkpoint(named)
        same(
            f"latest checkpoint of {named}", plain([latest] if latest else []), plain(library.checkpoints_of(named)[:1])
        )
        children = [one.session_id for one in await manager.list_children(named)]
        same(
            f"children of {named}",
            sorted(children),
            sorted(one.session_id for one in library.sessions(parent_id=named)),
        )


async def _look_whether_seen(manager: SessionSystem, session: Session, users: Iterable[str], same: Any) -> None:
    named = session.session_id
    for user in users:
        may = session.is_there and session.right(user) > 0
        same(f"whether {user} sees {named}", await manager.session_exists(named, user_id=user), may)
        if not may:
            same(f"{user} and {named}", await _refused(manager.get_session(named, user_id=user)), "AccessDenied")


async def _look_at_lists(library: Library, manager: SessionSystem, same: Any) -> None:
    now = library.now
    everything = library.sessions()
    found = await manager.find_sessions(SessionFilter())
    same("all sessions", [one.session_id for one in found], _ids(everything))
    same(
        "active sessions",
        sorted([one.session_id async for one in manager.get_all_active_sessions()]),
        sorted(one.session_id for one in everything if one.status is SessionStatus.ACTIVE and one.goes_on(now)),
    )
    for user in (None, *EVERYBODY):
        mine = library.sessions(owner=user)
        figures = await manager.get_statistics(user)
        same(
            f"statistics of {user}",
            (figures.total, figures.messages, figures.by_status),
            (len(mine), sum(one.count for one in mine), _by_status(mine)),
        )
        same(f"mean duration of {user}", abs(figures.mean_seconds - _mean(mine)) < 0.01, True)
        active = [one for one in mine if one.status is SessionStatus.ACTIVE]
        same(f"active sessions of {user}", await manager.get_active_session_count(user), len(active))
    for user in EVERYBODY:
        mine = library.sessions(owner=user)
        same(f"sessions of {user}", [one.session_id for one in await manager.get_sessions_by_user(user)], _ids(mine))
        live = sorted(one.session_id for one in mine if one.goes_on(now))
        same(f"live sessions of {user}", sorted(one.session_id for one in await manager.get_user_sessions(user)), live)
        same(f"pages of {user}", await _pages(manager, user), _ids(mine))
        tagged = [one for one in mine if "red" in one.tags]
        red = await manager.list_user_sessions(user, tags=["red"], limit=1000)
        same(f"red sessions of {user}", [one.session_id for one in red], _ids(tagged))
        for chat in CHATS:
            for platform in ("telegram", "web"):
                there = await manager.get_user_session(user, chat, platform)
                meant = [one for one in mine if (one.chat, one.platform) == (chat, platform) and one.goes_on(now)]
                same(f"session of {user} in {chat}", there and there.session_id, meant[0].session_id if meant else None)
        for identity in (f"home of {user}", f"work of {user}"):
            shown = await manager.get_identity(identity)
            same(identity, plain(shown) if shown else [], sorted(_ids(library.linked(identity))))
    for current in (one.current for one in library.held.conversations.values() if one.current.is_there):
        found_identity = await manager.get_session_identity(current.session_id)
        linked = sorted(_ids(library.linked(current.identity))) if current.identity else None
        same(f"identity of {current.session_id}", plain(found_identity), linked)
    await _look_at_sync(library, manager, same)
    rules = sorted(library.held.rules.values(), key=lambda rule: (-rule.priority, rule.rule_id))
    same("rules", plain([*await manager.list_expiry_rules()]), plain(rules))


async def _look_at_sync(library: Library, manager: SessionSystem, same: Any) -> None:
    for user in (None, *EVERYBODY):
        listed = await manager.list_conflicts(limit=1000, user_id=user)
        found = sorted((session_id, plain([*conflicts])) for session_id, conflicts in listed.items)
        meant = [(session_id, plain(conflicts)) for session_id, conflicts in library.list_conflicts(user_id=user)]
        same(
            f"conflicts of {user}",
            [(one, sorted(all_)) for one, all_ in found],
            [(one, sorted(all_)) for one, all_ in meant],
        )
        suggested = sorted(await manager.suggest_links(user_id=user), key=lambda one: one.suggestion_id)
        same(f"suggestions to {user}", plain(suggested), plain(library.suggest_links(user_id=user)))
    for identity in (None, *(f"{place} of {user}" for user in EVERYBODY for place in ("home", "work"))):
        policy = await manager.get_sync_policy(identity)
        same(f"policy of {identity}", plain(policy), plain(library.get_sync_policy(identity)))
        if identity:
            of_theirs = await manager.list_conflicts(identity, limit=1000)
            meant = library.list_conflicts(identity)
            same(f"conflicts of {identity}", sorted(one for one, _ in of_theirs.items), [one for one, _ in meant])


async def _pages(manager: SessionSystem, user: str) -> list[str]:
    found: list[str] = []
    cursor = None
    while True:
        page = await manager.list_user_sessions(user, limit=3, cursor=cursor)
        found += [one.session_id for one in page]
        cursor = page.cursor
        if cursor is None:
            return found


async def _refused(call: Any) -> str:
    try:
        return f"gave {plain(await call)}"
    except Exception as error:
        return type(error).__name__


def _ids(sessions: Iterable[Session]) -> list[str]:
    return [one.session_id for one in sessions]


def _by_status(sessions: Iterable[Session]) -> dict[SessionStatus, int]:
    found: dict[SessionStatus, int] = {}
    for one in sessions:
        found[one.status] = found.get(one.status, 0) + 1
    return found


def _mean(sessions: list[Session]) -> float:
    spans = [(one.last_activity - one.created_at).total_seconds() for one in sessions]
    return sum(spans) / len(spans) if spans else 0.0


def _unlike(shown: Any, meant: Any) -> str:
    """Say what differs, in few words."""
    if isinstance(shown, dict) and isinstance(meant, dict):
        names = [name for name in {**shown, **meant} if shown.get(name) != meant.get(name)]
        return "; ".join(f"{name} is {_told(shown.get(name))}, not {_told(meant.get(name))}" for name in names)
    return f"is {_told(shown)}, not {_told(meant)}"


def _told(value: Any) -> str:
    return str(value) if isinstance(value, datetime) else repr(value)
