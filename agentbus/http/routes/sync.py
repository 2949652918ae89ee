"""What linked sessions share: syncs that are asked for, policies, the trail; open conflicts, and which value stays."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import Path
from fastapi import Query as InQuery
from pydantic import Field
from starlette.responses import Response

from agentbus.contracts.address import Platform
from agentbus.contracts.base import Id, Many, Name, Timestamp
from agentbus.contracts.ids import SessionId
from agentbus.contracts.profile import Seconds
from agentbus.contracts.session import SessionState
from agentbus.contracts.sync import (
    Conflict,
    ConflictStrategy,
    FieldPointer,
    Resolution,
    SyncMode,
    SyncOperation,
    SyncPolicy,
)
from agentbus.http.calls import Calls, Given, Paged, With, answered
from agentbus.http.routes.sessions import SessionPath
from agentbus.http.shown import Listed, Shown
from agentbus.operations.api_keys import Role
from agentbus.operations.sync import (
    DEFAULT,
    change_policy,
    forget_policy,
    get_policy,
    history_of_identity,
    history_of_session,
    resolve_conflicts,
)
from agentbus.operations.sync import list_conflicts as conflicting
from agentbus.operations.sync import sync_session as synced

calls = Calls("conflicts")


class Conflicts(Paged):
    """Which conflicts are listed."""

    identity: Id | None = Field(default=None, description="Those of this person's sessions.")


class InConflict(Shown):
    """A session with its open conflicts."""

    session_id: SessionId
    identity: str | None
    conflicts: Many[Conflict]

    @classmethod
    def of(cls, state: SessionState) -> "InConflict":
        """Return what is shown of a session in conflict."""
        return cls(session_id=state.session_id, identity=state.identity, conflicts=state.conflicts)


class Choice(Given):
    """Which value stays."""

    resolution: Resolution
    fields: Annotated[Many[FieldPointer], Field(max_length=1000)] = Field(
        default=(), description="JSON pointers of the fields; none: all that are open."
    )


class Resolved(Shown):
    """The conflicts that are over."""

    resolved: Many[Conflict]


IdentityPath = Annotated[Id, Path(description="The identity's key: an id of yours for the person.")]


class SyncedShown(Shown):
    """What a sync did to one of the linked sessions."""

    session_id: SessionId
    changed: bool
    conflicts: int = Field(description="Open conflicts that it has now.")
    error: str | None = Field(description="Why it was not synced, if it was not.")


class SyncShown(Shown):
    """What was passed on, and to whom."""

    source: SessionId
    identity: str | None = Field(description="None: the session is linked to no other, and nothing happened.")
    fields: int
    messages: int
    sessions: Many[SyncedShown]


class PolicyShown(SyncPolicy, defer_build=False):
    """What linked sessions share, when, and who wins."""


class PolicyChanges(Given):
    """Changes to a policy; what is left out stays as it is."""

    mode: SyncMode | None = None
    strategy: ConflictStrategy | None = None
    data: Annotated[Many[Name], Field(max_length=1000)] | None = Field(
        default=None, description="Keys of data that are shared; `*` stands for any text."
    )
    metadata: Annotated[Many[Name], Field(max_length=1000)] | None = Field(default=None, description="Likewise.")
    history: bool | None = Field(default=None, description="Whether messages are copied into the other histories.")
    operations: Annotated[Many[SyncOperation], Field(max_length=100)] | None = None
    priority: Annotated[Many[Platform], Field(max_length=100)] | None = Field(
        default=None, description="For source_priority: the first wins."
    )
    delay: Seconds | None = Field(default=None, description="For delayed: seconds without a change.")
    interval: Seconds | None = Field(default=None, description="For batch: seconds from one sync to the next.")

    @property
    def fields(self) -> dict[str, Any]:
        """What is to be changed."""
        return {name: value for name, value in dict(self).items() if value is not None}


class NoteShown(Shown):
    """Something that syncing did to a session."""

    at: Timestamp
    action: str = Field(description="The event's kind, such as `context_merged`.")
    session_id: SessionId
    sequence: int
    identity: str | None = Field(description="Whose sessions were linked then.")
    actor: str | None = Field(description="The user who did it; none: the system itself, or an operator.")
    by: str | None = Field(description="The operator who had it done: `key:ID`, or `user:ID` for a token.")
    source: SessionId | None = Field(description="The linked session that it came from.")
    fields: Many[str] = Field(description="What was changed, as JSON pointers.")


@calls.call("POST", "/sessions/{session_id}/sync", Role.OPERATE, answers=SyncShown)
async def sync_session(session_id: SessionPath, parts: With) -> Response:
    """Bring what a session has to those it is linked to, now, whatever the policy's mode."""
    report = asdict(await synced(parts.app, session_id))
    sessions = tuple(SyncedShown(**one) for one in report.pop("sessions"))
    return answered(SyncShown(**report, sessions=sessions))


@calls.call("GET", "/sessions/{session_id}/sync", Role.READ, answers=Listed[NoteShown])
async def list_syncs_of_session(session_id: SessionPath, query: Annotated[Paged, InQuery()], parts: With) -> Response:
    """List who linked, unlinked and changed what in a session's conversation, the latest first.

    A page may be short and still have a cursor.
    """
    page = await history_of_session(parts.app, session_id, limit=query.limit, cursor=query.after)
    items = tuple(NoteShown(**dict(one)) for one in page.items)
    return answered(Listed[NoteShown](items=items, cursor=page.cursor))


@calls.call("GET", "/identities/{identity_key}/sync", Role.READ, answers=Listed[NoteShown])
async def list_syncs_of_identity(
    identity_key: IdentityPath, query: Annotated[Paged, InQuery()], parts: With
) -> Response:
    """List the same of all conversations that are, or ever were, linked to an identity."""
    page = await history_of_identity(parts.app, identity_key, limit=query.limit, cursor=query.after)
    items = tuple(NoteShown(**dict(one)) for one in page.items)
    return answered(Listed[NoteShown](items=items, cursor=page.cursor))


@calls.call("GET", "/sync/policy", Role.READ, answers=PolicyShown)
async def get_sync_policy(parts: With) -> Response:
    """Return the policy of all identities that have none of their own."""
    return answered(await get_policy(parts.app))


@calls.call("PATCH", "/sync/policy", Role.OPERATE, answers=PolicyShown)
async def change_sync_policy(body: PolicyChanges, parts: With) -> Response:
    """Set some fields of the policy of all identities that have none of their own."""
    return answered(await change_policy(parts.app, DEFAULT, body.fields))


@calls.call("GET", "/identities/{identity_key}/policy", Role.READ, answers=PolicyShown)
async def get_identity_policy(identity_key: IdentityPath, parts: With) -> Response:
    """Return the policy by which an identity's sessions are synced: its own, or that of all others."""
    return answered(await get_policy(parts.app, identity_key))


@calls.call("PATCH", "/identities/{identity_key}/policy", Role.OPERATE, answers=PolicyShown)
async def change_identity_policy(identity_key: IdentityPath, body: PolicyChanges, parts: With) -> Response:
    """Set some fields of an identity's policy; it has one of its own from then on."""
    return answered(await change_policy(parts.app, identity_key, body.fields))


@calls.call("DELETE", "/identities/{identity_key}/policy", Role.OPERATE, answers=PolicyShown)
async def forget_identity_policy(identity_key: IdentityPath, parts: With) -> Response:
    """Take an identity's own policy away, if there is one, and return the one that is in force then."""
    return answered(await forget_policy(parts.app, identity_key))


@calls.call("GET", "/conflicts", Role.READ, answers=Listed[InConflict])
async def list_conflicts(query: Annotated[Conflicts, InQuery()], parts: With) -> Response:
    """List the sessions that have open conflicts."""
    page = await conflicting(parts.app, query.identity, limit=query.limit, cursor=query.after)
    return answered(Listed[InConflict](items=tuple(map(InConflict.of, page.items)), cursor=page.cursor))


@calls.call("POST", "/sessions/{session_id}/conflicts/resolve", Role.OPERATE, answers=Resolved)
async def resolve_session_conflicts(session_id: SessionPath, body: Choice, parts: With) -> Response:
    """Choose between the values of a session's open conflicts."""
    over = await resolve_conflicts(parts.app, [session_id], body.resolution, body.fields)
    return answered(Resolved(resolved=tuple(over)))
