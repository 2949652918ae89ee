"""Access: sharing sessions, and who did what."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from pydantic import JsonValue

from agentbus.contracts.commands import SetVisibility, ShareSession
from agentbus.contracts.events import (
    AnyEvent,
    DataSet,
    IdentityLinked,
    IdentityUnlinked,
    MessageAppended,
    MetadataSet,
    ProfileAct,
    ProfileChanged,
    SessionClosed,
    SessionDeleted,
    SessionStarted,
    StateChanged,
)
from agentbus.contracts.messages import Role
from agentbus.sessions.engine import Engine
from agentbus.sessions.model.results import Page
from agentbus.sessions.model.types import Permission, Visibility
from agentbus.sessions.sections.shared import Caller, Commands
from agentbus.storage.paging import decode_cursor, encode_cursor
from agentbus.workers.domain.access import Right

_COMMITS: Final = 100
_MOST: Final = 1000


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Something that was done to a session."""

    at: datetime
    action: str
    """What was done: `shared`, `revoked`, `visibility_set`, `extended`, `refreshed`, `updated`; else the event's kind,
    such as `data_set`."""
    actor: str | None
    """The user who did it, or wrote the message; None: the application itself, or an operator."""
    sequence: int
    """The event's number in the session, from 1."""
    target: str | None = None
    """The user to whom it was done: with whom it was shared, or no longer is."""
    details: Mapping[str, JsonValue] = field(default_factory=dict)
    """What more there is to it: the `permission` that was given, the `visibility`, the end (`expires_at`), the
    `status` and the `reason` for it, the `fields` that were set. Values of data and metadata are not in it."""
    by: str | None = None
    """The operator who had it done over the HTTP API or the dashboard, for the actor if there is one: `key:ID`, or
    `user:ID` for a token."""


class Access:
    """Sharing sessions, and who did what to them: calls of their owners."""

    def __init__(self, engine: Engine, commands: Commands) -> None:
        self._engine = engine
        self._commands = commands

    async def share(self, session_id: str, user: str, permission: Permission | str, owner: Caller) -> None:
        await self._as_owner(session_id, ShareSession, owner, user=user, permission=permission)

    async def revoke(self, session_id: str, user: str, owner: Caller) -> None:
        await self._as_owner(session_id, ShareSession, owner, user=user)

    async def set_visibility(self, session_id: str, visibility: Visibility | str, owner: Caller) -> None:
        await self._as_owner(session_id, SetVisibility, owner, visibility=visibility)

    async def audit_log(
        self, session_id: str, user_id: str | None, *, limit: int, cursor: str | None
    ) -> Page[AuditEntry]:
        if not 1 <= limit <= _MOST:
            raise ValueError(f"limit is {limit}, it must be 1 to {_MOST}")
        state = await self._engine.existing(session_id, user_id, Right.OWN)
        before = decode_cursor("audit", cursor, int)[0] if cursor else state.sequence + 1
        found: list[AuditEntry] = []
        version = state.version
        while len(found) <= limit and version >= state.first_version:
            commits = await self._engine.store.log.read(
                state.conversation_id, first=state.first_version, last=version, limit=_COMMITS, newest=True
            )
            if not commits:
                break
            for commit in commits:
                events = [event for event in reversed(commit.events) if event.session_id == state.session_id]
                found += [_entry(event) for event in events if event.sequence < before]
            version = commits[-1].version - 1
        more = encode_cursor("audit", found[limit - 1].sequence) if len(found) > limit else None
        return Page(items=found[:limit], cursor=more)

    async def _as_owner(
        self, session_id: str, kind: type[ShareSession] | type[SetVisibility], owner: Caller, **fields: Any
    ) -> None:
        await self._engine.existing(session_id, owner.user_id, Right.OWN)
        await self._commands.carry_out(session_id, kind, owner, **fields)


def _entry(event: AnyEvent) -> AuditEntry:
    actor = event.actor
    if actor is None and isinstance(event, SessionStarted):
        actor = event.profile.owner
    if actor is None and isinstance(event, MessageAppended) and event.message.role is Role.USER:
        address = event.message.address
        actor = address.user if address else event.message.author
    by = str(event.by) if event.by else None
    if isinstance(event, ProfileChanged) and event.act:
        about = _about_profile(event.act, event)
        return AuditEntry(event.at, event.act.value, actor, event.sequence, event.user, about, by)
    return AuditEntry(event.at, event.kind, actor, event.sequence, None, _details(event), by)


def _details(event: AnyEvent) -> dict[str, JsonValue]:
    details: dict[str, JsonValue] = {}
    match event:
        case StateChanged():
            details = {"status": event.status.value, "previous": event.previous.value}
            if event.state:
                details["state"] = event.state
            if event.reason:
                details["reason"] = event.reason
        case SessionClosed():
            details = {"why": event.why.value}
        case DataSet() | MetadataSet():
            details = {"fields": [*event.values, *event.removed]}
        case IdentityLinked():
            details = {"identity": event.linked}
        case IdentityUnlinked():
            details = {"identity": event.unlinked}
        case SessionDeleted():
            details = {"deleted": event.deleted}
    return details


def _about_profile(act: ProfileAct, event: ProfileChanged) -> dict[str, JsonValue]:
    ends = event.profile.expires_at
    match act:
        case ProfileAct.SHARED:
            return {"permission": event.permission.value if event.permission else None}
        case ProfileAct.VISIBILITY_SET:
            return {"visibility": event.profile.visibility.value}
        case ProfileAct.EXTENDED | ProfileAct.REFRESHED:
            return {"expires_at": ends.isoformat() if ends else None}
        case ProfileAct.UPDATED:
            return {"fields": list(event.fields)}
        case ProfileAct.REVOKED:
            return {}
