"""Tracking: what applications tell of sessions, what one used, what became of all, and the states that there are."""

from dataclasses import asdict
from datetime import timedelta
from http import HTTPStatus
from typing import Annotated

from fastapi import Query as InQuery
from pydantic import Field
from starlette.responses import Response

from agentbus.contracts.base import Id, JsonObject, Timestamp
from agentbus.contracts.machine import StateMachine
from agentbus.contracts.tracking import TrackedEvent
from agentbus.contracts.tracking import Usage as Used
from agentbus.http.calls import By, Calls, Given, IdempotencyKey, Paged, Parts, Query, With, answered
from agentbus.http.problems import NotThere
from agentbus.http.routes.sessions import SessionPath
from agentbus.http.shown import Listed, Shown
from agentbus.operations.api_keys import Role
from agentbus.operations.paging import page_after
from agentbus.sessions.sections.tracking import Tracking

calls = Calls("tracking")


class Told(Given):
    """Something that an application tells of a session."""

    kind: Id = Field(description="An event type, or the application's own word.")
    data: JsonObject = Field(default_factory=dict, description="It is kept without secrets.")


class TrackedShown(TrackedEvent, defer_build=False):
    """Something that an application told of a session."""


class UsageShown(Used, defer_build=False):
    """What one session used."""


class MachineShown(StateMachine, defer_build=False):
    """The states of an installation's own, and all ways that may be asked for."""


class Days(Query):
    """Of which time."""

    days: float = Field(default=1.0, ge=0.001, le=3660, allow_inf_nan=False, description="Up to now.")


class StatesShown(Shown):
    """What became of sessions from one moment to another. Hours count whole."""

    since: Timestamp
    until: Timestamp
    started: int
    ended: dict[str, int] = Field(description="By how.")
    changes: dict[str, int] = Field(description="Changes of status, by the new one.")
    mean_seconds: float | None = Field(description="How long those that ended had been there.")
    now: dict[str, int] = Field(description="Sessions that there are, by their status.")


@calls.call(
    "POST", "/sessions/{session_id}/tracked-events", Role.OPERATE, answers=TrackedShown, status=201, for_users=True
)
async def track_event(
    session_id: SessionPath, body: Told, parts: With, by: By, idempotency_key: IdempotencyKey = None
) -> Response:
    """Tell something of a session, for its figures and whoever reads them: it changes nothing in it."""
    told = await _tracking(parts).track(session_id, body.kind, body.data, user_id=by.user, request_id=idempotency_key)
    return answered(told, HTTPStatus.CREATED)


@calls.call("GET", "/sessions/{session_id}/tracked-events", Role.READ, answers=Listed[TrackedShown], for_users=True)
async def list_tracked_events(
    session_id: SessionPath, query: Annotated[Paged, InQuery()], parts: With, by: By
) -> Response:
    """List what applications told of a session, the latest first."""
    with page_after(query.after):
        page = await _tracking(parts).events(session_id, by.user, limit=query.limit, cursor=query.after)
    items = tuple(TrackedShown(**dict(one)) for one in page.items)
    return answered(Listed[TrackedShown](items=items, cursor=page.cursor))


@calls.call("GET", "/sessions/{session_id}/usage", Role.READ, answers=UsageShown, for_users=True)
async def get_session_usage(session_id: SessionPath, parts: With, by: By) -> Response:
    """Return what a session used: messages by role, waits, changes."""
    if used := await _tracking(parts).usage(session_id, by.user):
        return answered(used)
    raise NotThere


@calls.call("GET", "/statistics/states", Role.READ, answers=StatesShown)
async def get_state_statistics(query: Annotated[Days, InQuery()], parts: With) -> Response:
    """Return what became of sessions in the last days: how many began, how they ended, how their status changed."""
    return answered(StatesShown(**asdict(await _tracking(parts).statistics(timedelta(days=query.days)))))


@calls.call("GET", "/state-machine", Role.READ, answers=MachineShown)
async def get_state_machine(parts: With) -> Response:
    """Return the states of the installation's own, and all ways that may be asked for."""
    return answered(await _tracking(parts).machine())


def _tracking(parts: Parts) -> Tracking:
    app = parts.app
    return Tracking(parts.engine, app.archive, app.clock, secret_keys=app.settings.session.secret_keys)
