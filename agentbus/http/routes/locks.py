"""Locks of sessions: one holder at a time, for as long as its lease runs."""

from http import HTTPStatus
from typing import Annotated

from fastapi import Path
from pydantic import Field
from starlette.responses import Response

from agentbus.contracts.base import MAX_INTEGER
from agentbus.contracts.errors import LockLost
from agentbus.http.calls import By, Calls, Given, With, answered
from agentbus.http.routes.sessions import SessionPath
from agentbus.http.shown import Shown
from agentbus.operations.api_keys import Role
from agentbus.sessions.sections.locks import LEASE_SECONDS

calls = Calls("locks")

TokenPath = Annotated[int, Path(ge=1, le=MAX_INTEGER, description="The token that was given out.")]


class Lease(Given):
    """For how long a lock is held."""

    lease: float = Field(default=LEASE_SECONDS, gt=0, le=3600, allow_inf_nan=False, description="Seconds from now.")


class Waiting(Lease):
    """How a lock is taken."""

    timeout: float = Field(
        default=0.0, ge=0, le=20, allow_inf_nan=False, description="Seconds to wait for who holds it."
    )


class Held(Shown):
    """A lock that is held."""

    token: int = Field(description="Goes into the header `X-AgentBus-Fence` of what is done under the lock.")
    lease: float = Field(description="Seconds from now on; then it ends by itself.")


@calls.call("POST", "/sessions/{session_id}/lock", Role.OPERATE, answers=Held, for_users=True)
async def acquire_lock(session_id: SessionPath, parts: With, by: By, body: Waiting | None = None) -> Response:
    """Take a session's lock: 409 if somebody else holds it."""
    given = body or Waiting()
    token = await parts.sessions.acquire_lock(session_id, timeout=given.timeout, lease=given.lease, user_id=by.user)
    return answered(Held(token=token, lease=given.lease))


@calls.call("POST", "/sessions/{session_id}/lock/{token}/renew", Role.OPERATE, answers=Held, for_users=True)
async def renew_lock(
    session_id: SessionPath, token: TokenPath, parts: With, by: By, body: Lease | None = None
) -> Response:
    """Hold a lock for longer: 409 if it was lost."""
    given = body or Lease()
    if not await parts.sessions.renew_lock(session_id, token, lease=given.lease, user_id=by.user):
        raise LockLost
    return answered(Held(token=token, lease=given.lease))


@calls.call("DELETE", "/sessions/{session_id}/lock/{token}", Role.OPERATE, answers=None, status=204, for_users=True)
async def release_lock(session_id: SessionPath, token: TokenPath, parts: With, by: By) -> Response:
    """Give a lock back: 409 if it was lost before."""
    if not await parts.sessions.release_lock(session_id, token, user_id=by.user):
        raise LockLost
    return Response(status_code=HTTPStatus.NO_CONTENT)
