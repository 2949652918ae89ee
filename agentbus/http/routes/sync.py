"""Conflicts between linked sessions: which are open, and which value stays."""

from typing import Annotated

from fastapi import Query as InQuery
from pydantic import Field
from starlette.responses import Response

from agentbus.contracts.base import Id, Many
from agentbus.contracts.ids import SessionId
from agentbus.contracts.session import SessionState
from agentbus.contracts.sync import Conflict, FieldPointer, Resolution
from agentbus.http.calls import Calls, Given, Paged, With, answered
from agentbus.http.routes.sessions import SessionPath
from agentbus.http.shown import Listed, Shown
from agentbus.operations.api_keys import Role
from agentbus.operations.sync import list_conflicts as conflicting
from agentbus.operations.sync import resolve_conflicts

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
