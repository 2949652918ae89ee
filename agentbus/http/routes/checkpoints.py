"""What is kept of a session beside it: checkpoints, and who did what to it."""

from dataclasses import asdict
from http import HTTPStatus
from typing import Annotated

from fastapi import Path
from fastapi import Query as InQuery
from pydantic import Field, JsonValue
from starlette.responses import Response

from agentbus.contracts.base import Id, JsonObject, Timestamp
from agentbus.contracts.errors import AccessDenied
from agentbus.contracts.ids import SessionId
from agentbus.http.calls import By, Calls, Fence, Given, IdempotencyKey, Paged, With, answered
from agentbus.http.problems import NotThere
from agentbus.http.routes.sessions import SessionPath
from agentbus.http.shown import Listed, Shown
from agentbus.operations.api_keys import Role
from agentbus.operations.paging import page_after
from agentbus.sessions.sections.access import AuditEntry
from agentbus.sessions.sections.checkpoints import Checkpoint, CheckpointNotFound
from agentbus.workers.domain.access import DENIED

calls = Calls("checkpoints")

CheckpointPath = Annotated[Id, Path(description="The checkpoint's id.")]


class CheckpointShown(Shown):
    """Data that was saved at one moment of a session."""

    checkpoint_id: str
    session_id: SessionId
    created_at: Timestamp
    data: dict[str, JsonValue]

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> "CheckpointShown":
        """Return a checkpoint as it is shown."""
        return cls(**{name: checkpoint[name] for name in cls.model_fields})


class NewCheckpoint(Given):
    """What is saved."""

    checkpoint_id: Id | None = Field(
        default=None, description="With it the call may be repeated; or else it is made up."
    )
    data: JsonObject | None = Field(default=None, description="By default the session's own data.")


class Cleared(Shown):
    """What was deleted."""

    deleted: int


class AuditShown(Shown):
    """Something that was done to a session."""

    at: Timestamp
    action: str
    actor: str | None = Field(description="The user who did it, or wrote the message; none: the application itself.")
    by: str | None = Field(
        description="Who had it done over the HTTP API or the dashboard: `key:ID`, or `user:ID` for a token."
    )
    sequence: int
    target: str | None = Field(description="The user to whom it was done.")
    details: dict[str, JsonValue]

    @classmethod
    def of(cls, entry: AuditEntry) -> "AuditShown":
        """Return an entry as it is shown."""
        return cls(**asdict(entry))


@calls.call("GET", "/sessions/{session_id}/checkpoints", Role.READ, answers=Listed[CheckpointShown], for_users=True)
async def list_checkpoints(
    session_id: SessionPath, query: Annotated[Paged, InQuery()], parts: With, by: By
) -> Response:
    """List a session's checkpoints, the latest first."""
    with page_after(query.after):
        page = await parts.sessions.list_checkpoints(session_id, user_id=by.user, limit=query.limit, cursor=query.after)
    items = tuple(map(CheckpointShown.of, page.items))
    return answered(Listed[CheckpointShown](items=items, cursor=page.cursor))


@calls.call(
    "POST",
    "/sessions/{session_id}/checkpoints",
    Role.OPERATE,
    answers=CheckpointShown,
    status=201,
    for_users=True,
)
async def save_checkpoint(session_id: SessionPath, parts: With, by: By, body: NewCheckpoint | None = None) -> Response:
    """Save a session's data, or other data, as a checkpoint."""
    given = body or NewCheckpoint()
    saved = await parts.sessions.save_checkpoint(
        session_id, given.data, user_id=by.user, checkpoint_id=given.checkpoint_id
    )
    made = await parts.sessions.get_checkpoint(saved, session_id=session_id, user_id=by.user)
    if made is None:
        raise NotThere
    return answered(CheckpointShown.of(made), HTTPStatus.CREATED)


@calls.call(
    "POST",
    "/sessions/{session_id}/checkpoints/{checkpoint_id}/restore",
    Role.OPERATE,
    answers=CheckpointShown,
    for_users=True,
)
async def restore_checkpoint(
    session_id: SessionPath,
    checkpoint_id: CheckpointPath,
    *,
    parts: With,
    by: By,
    fence: Fence = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Make a session's data what a checkpoint says: other keys are taken out. Its messages stay."""
    restored = await parts.sessions.restore_checkpoint(
        session_id, checkpoint_id, user_id=by.user, fence=fence, request_id=idempotency_key
    )
    return answered(CheckpointShown.of(restored))


@calls.call(
    "DELETE",
    "/sessions/{session_id}/checkpoints/{checkpoint_id}",
    Role.OPERATE,
    answers=None,
    status=204,
    for_users=True,
)
async def delete_checkpoint(session_id: SessionPath, checkpoint_id: CheckpointPath, parts: With, by: By) -> Response:
    """Delete a checkpoint."""
    deleted = await parts.sessions.delete_checkpoint(checkpoint_id, session_id=session_id, user_id=by.user)
    if not deleted:
        raise NotThere if by.user is None else AccessDenied(DENIED)
    return Response(status_code=HTTPStatus.NO_CONTENT)


@calls.call("DELETE", "/sessions/{session_id}/checkpoints", Role.OPERATE, answers=Cleared, for_users=True)
async def clear_checkpoints(session_id: SessionPath, parts: With, by: By) -> Response:
    """Delete all checkpoints of a session."""
    return answered(Cleared(deleted=await parts.sessions.clear_checkpoints(session_id, user_id=by.user)))


@calls.call(
    "GET", "/sessions/{session_id}/checkpoints/{checkpoint_id}", Role.READ, answers=CheckpointShown, for_users=True
)
async def get_checkpoint(session_id: SessionPath, checkpoint_id: CheckpointPath, parts: With, by: By) -> Response:
    """Return a checkpoint."""
    found = await parts.sessions.get_checkpoint(checkpoint_id, session_id=session_id, user_id=by.user)
    if found is None:
        raise CheckpointNotFound(f"session {session_id} has no checkpoint {checkpoint_id}")
    return answered(CheckpointShown.of(found))


@calls.call("GET", "/sessions/{session_id}/audit", Role.READ, answers=Listed[AuditShown], for_users=True)
async def list_audit(session_id: SessionPath, query: Annotated[Paged, InQuery()], parts: With, by: By) -> Response:
    """List who did what to a session, the latest first. On behalf of a user: if they own it."""
    with page_after(query.after):
        page = await parts.sessions.get_audit_log(session_id, user_id=by.user, limit=query.limit, cursor=query.after)
    return answered(Listed[AuditShown](items=tuple(map(AuditShown.of, page.items)), cursor=page.cursor))
