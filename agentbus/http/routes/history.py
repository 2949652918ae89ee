"""A session's messages: appended by whoever made them, or no longer shown."""

from http import HTTPStatus
from typing import Annotated

from fastapi import Query as InQuery
from pydantic import Field
from starlette.responses import Response

from agentbus.contracts.base import Id, Text, Timestamp
from agentbus.contracts.ids import SessionId
from agentbus.contracts.messages import Role as Speaker
from agentbus.http.calls import By, Calls, Fence, Given, IdempotencyKey, Query, With, answered
from agentbus.http.routes.sessions import SessionPath
from agentbus.http.shown import Shown
from agentbus.operations.api_keys import Role
from agentbus.sessions.model.validation import checked_id

calls = Calls("sessions")


class Appended(Given):
    """A message that belongs into a session, and was said elsewhere, or to nobody: a model's, a tool's."""

    role: Speaker = Field(description="Whose it is.")
    text: Text = Field(min_length=1)
    message_id: Id | None = Field(
        default=None, description="The same one again is there once; without it the Idempotency-Key is, or one made up."
    )


class AppendedShown(Shown):
    """A message that is in a session's history."""

    session_id: SessionId
    message_id: str
    role: Speaker
    text: str
    sent_at: Timestamp


class Rest(Query):
    """What of a history stays."""

    keep_recent: int = Field(default=0, ge=0, le=1000, description="Messages, the latest.")


@calls.call("POST", "/sessions/{session_id}/messages", Role.OPERATE, answers=AppendedShown, status=201, for_users=True)
async def append_message(
    session_id: SessionPath,
    body: Appended,
    *,
    parts: With,
    by: By,
    fence: Fence = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Append a message to a session's history. It is sent to nobody: for that there are replies."""
    message_id = body.message_id or idempotency_key
    message = await parts.sessions.add_message(
        session_id, by.user, body.role, body.text, message_id=message_id, fence=fence
    )
    shown = AppendedShown(
        session_id=checked_id(session_id),
        message_id=message.id,
        role=body.role,
        text=message.content,
        sent_at=message.timestamp,
    )
    return answered(shown, HTTPStatus.CREATED)


@calls.call("DELETE", "/sessions/{session_id}/messages", Role.OPERATE, answers=None, status=204, for_users=True)
async def trim_history(
    session_id: SessionPath,
    query: Annotated[Rest, InQuery()],
    *,
    parts: With,
    by: By,
    fence: Fence = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """No longer show a session's messages, but the latest ones that are kept. Erasing them is a matter of its own."""
    await parts.sessions.reset_session_history(
        session_id, query.keep_recent, user_id=by.user, fence=fence, request_id=idempotency_key
    )
    return Response(status_code=HTTPStatus.NO_CONTENT)
