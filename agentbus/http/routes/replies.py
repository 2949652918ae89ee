"""Replies that somebody has to decide about, and those that are still to be sent."""

from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

from fastapi import Path
from fastapi import Query as InQuery
from pydantic import Field
from starlette.responses import Response

from agentbus.contracts.address import Platform
from agentbus.contracts.base import Timestamp
from agentbus.contracts.replies import MAX_REASON_LENGTH, ReplyId, ReplyResolution, ReplyState
from agentbus.http.calls import Calls, Given, Paged, With, answered
from agentbus.http.routes.sessions import SessionPath
from agentbus.http.shown import Listed, Shown
from agentbus.operations.api_keys import Role
from agentbus.operations.replies import ListedReply, list_unknown, list_waiting, resolve_reply
from agentbus.sessions.model.validation import checked_id

calls = Calls("replies")


class Open(StrEnum):
    """Which replies are listed."""

    UNKNOWN = "unknown"
    """Those of which nobody knows whether they were sent."""
    WAITING = "waiting"
    """Those that are to be sent."""


class Replies(Paged):
    """Which replies are listed."""

    state: Open = Field(default=Open.UNKNOWN, description="Those that are `waiting` come as one page.")


class ReplyListed(Shown):
    """An open reply."""

    reply_id: ReplyId = Field(description="`<session>/<number>`.")
    state: ReplyState
    platform: Platform
    asked_at: Timestamp
    again: int = Field(description="How often somebody had it sent again.")
    due_at: Timestamp | None = Field(description="When it is tried next; none: somebody has to decide.")
    reason: str = Field(description="Why nobody knows what became of it.")

    @classmethod
    def of(cls, reply: ListedReply) -> "ReplyListed":
        """Return a reply as it is shown."""
        return cls(**asdict(reply))


class Decision(Given):
    """What somebody decides about a reply of which nobody knows whether it was sent."""

    resolution: ReplyResolution
    reason: str = Field(default="", max_length=MAX_REASON_LENGTH, description="Why; it is kept with the session.")


class Decided(Shown):
    """What was decided about a reply."""

    reply_id: ReplyId
    resolution: ReplyResolution


@calls.call("GET", "/replies", Role.READ, answers=Listed[ReplyListed])
async def list_replies(query: Annotated[Replies, InQuery()], parts: With) -> Response:
    """List the replies of which nobody knows whether they were sent, the latest first; or those still to be sent."""
    app, topology = parts.app, parts.app.settings.topology
    cursor: str | None = None
    if query.state is Open.WAITING:
        found = await list_waiting(app.store, topology, app.clock, limit=query.limit)
    else:
        page = await list_unknown(app.store, topology, app.clock, limit=query.limit, cursor=query.after)
        found, cursor = list(page.items), page.cursor
    return answered(Listed[ReplyListed](items=tuple(map(ReplyListed.of, found)), cursor=cursor))


@calls.call("POST", "/sessions/{session_id}/replies/{number}/resolve", Role.OPERATE, answers=Decided)
async def resolve_unknown_reply(
    session_id: SessionPath,
    number: Annotated[int, Path(ge=1, le=10**18, description="What stands behind the `/` of the reply's id.")],
    body: Decision,
    parts: With,
) -> Response:
    """Decide about a reply of which nobody knows whether it was sent."""
    reply = ReplyId(f"{checked_id(session_id)}/{number}")
    await resolve_reply(parts.app, reply, body.resolution, reason=body.reason)
    return answered(Decided(reply_id=reply, resolution=body.resolution))
