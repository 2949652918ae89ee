"""What linked sessions share: syncs that are asked for, the trail of all syncs, open conflicts, policies."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from agentbus.composition.app import App
from agentbus.composition.workers import make_sync
from agentbus.contracts.errors import SchemaViolation
from agentbus.contracts.history import Page
from agentbus.contracts.ids import conversation_of
from agentbus.contracts.session import SessionState
from agentbus.contracts.sync import Conflict, Resolution, SyncPolicy
from agentbus.operations.paging import page_after
from agentbus.sessions.model.validation import checked_id
from agentbus.workers.sync.demand import SyncReport
from agentbus.workers.sync.people.trail import SyncNote, sync_history
from agentbus.workers.sync.policies import DEFAULT

__all__ = [
    "DEFAULT", "SyncNote", "SyncReport", "change_policy", "forget_policy", "get_policy", "history_of_identity",
    "history_of_session", "list_conflicts", "resolve_conflicts", "sync_session",
]  # fmt: skip


async def sync_session(app: App, session_id: str) -> SyncReport:
    """Bring what a session has to those it is linked to, now, whatever the policy's mode.

    Raises SessionNotFound, BusError, StoreError.
    """
    return await make_sync(app).on_demand.sync(checked_id(session_id))


async def history_of_session(
    app: App, session_id: str, *, limit: int = 50, cursor: str | None = None
) -> Page[SyncNote]:
    """Return who linked, unlinked and changed what in a session's conversation, the latest first.

    A page may be short and still have a cursor. Raises SessionNotFound, InvalidCursor, StoreError.
    """
    conversation = conversation_of(checked_id(session_id))
    with page_after(cursor):
        return await sync_history(app.store, [conversation], limit=limit, cursor=cursor)


async def history_of_identity(
    app: App, identity_key: str, *, limit: int = 50, cursor: str | None = None
) -> Page[SyncNote]:
    """Return the same of all conversations that are, or ever were, linked to an identity."""
    conversations = await make_sync(app).identities.conversations(identity_key)
    with page_after(cursor):
        return await sync_history(app.store, conversations, limit=limit, cursor=cursor)


async def list_conflicts(
    app: App, identity_key: str | None = None, *, limit: int = 50, cursor: str | None = None
) -> Page[SessionState]:
    """Return a page of sessions that have open conflicts: all, or an identity's. Raises InvalidCursor, StoreError."""
    with page_after(cursor):
        return await make_sync(app).conflicts.sessions(identity_key, limit=limit, cursor=cursor)


async def resolve_conflicts(
    app: App, session_ids: Sequence[str], resolution: Resolution, fields: Sequence[str] = ()
) -> Sequence[Conflict]:
    """Resolve open conflicts of sessions, or those about `fields` alone; return which are over now.

    Raises SchemaViolation for a field that is no JSON pointer, SessionNotFound, SessionNotCurrent, ReplyTimeout,
    BusError, StoreError.
    """
    named = [checked_id(one) for one in session_ids]
    try:
        return await make_sync(app).conflicts.resolve(named, resolution, fields)
    except ValidationError as error:
        raise SchemaViolation(error.errors()[0]["msg"]) from None


async def get_policy(app: App, identity_key: str = DEFAULT) -> SyncPolicy:
    """Return the policy by which an identity's sessions are synced; that of all others by default.

    Raises StoreDamaged for one that this release can't read, StoreError.
    """
    return await make_sync(app).policies.of(identity_key)


async def change_policy(app: App, identity_key: str, changes: Mapping[str, Any]) -> SyncPolicy:
    """Set some fields of a policy, leave the rest of it as it is, and return it. Raises SchemaViolation, StoreError."""
    policies = make_sync(app).policies
    kept = await policies.of(identity_key)
    try:
        changed = SyncPolicy.model_validate(kept.model_dump() | dict(changes))
    except ValidationError as error:
        raise SchemaViolation("; ".join(f"{item['loc'][0]}: {item['msg']}" for item in error.errors())) from None
    await policies.keep(identity_key, changed)
    return await policies.of(identity_key)


async def forget_policy(app: App, identity_key: str) -> SyncPolicy:
    """Take a policy away, if there is one, and return the one that is in force then. Raises StoreError."""
    policies = make_sync(app).policies
    await policies.forget(identity_key)
    return await policies.of(identity_key)
