"""Whose sessions are one person's: looked at, linked, taken apart, suggested."""

from dataclasses import asdict
from http import HTTPStatus
from typing import Annotated

from fastapi import Path
from pydantic import Field
from starlette.responses import Response

from agentbus.contracts.base import Id, Many, Name, Timestamp
from agentbus.contracts.errors import SessionNotFound
from agentbus.contracts.ids import SessionId, SessionIdField
from agentbus.contracts.sync import Identity
from agentbus.http.calls import Calls, Given, With, answered
from agentbus.http.routes.sessions import SessionPath
from agentbus.http.shown import Shown
from agentbus.operations.api_keys import Role
from agentbus.operations.identity import (
    confirm_suggestion,
    dismiss_suggestion,
    identity_of,
    issue_code,
    link_sessions,
    unlink_session,
)
from agentbus.operations.identity import get_identity as identity_of_key
from agentbus.operations.identity import list_suggestions as all_suggestions

calls = Calls("identities")

IdentityPath = Annotated[Id, Path(description="The identity's key: an id of yours for the person.")]
SuggestionPath = Annotated[str, Path(max_length=255, description="The suggestion's id.")]


class IdentityShown(Shown):
    """One person, as the sessions on several channels that are theirs."""

    identity_key: str
    display_name: str | None
    session_ids: Many[SessionId]

    @classmethod
    def of(cls, identity: Identity) -> "IdentityShown":
        """Return an identity as it is shown."""
        return cls(**dict(identity))


class NewLinks(Given):
    """Sessions that are one person's."""

    session_ids: Annotated[Many[SessionIdField], Field(min_length=1, max_length=100)]
    display_name: Name | None = None


class NewCode(Given):
    """For how long a claim code is good."""

    valid_for: float = Field(default=600.0, ge=1, le=86_400, allow_inf_nan=False, description="Seconds.")


class CodeShown(Shown):
    """A code that was given out: whoever sends it from another channel in time is taken for the same person."""

    code: str
    session_id: SessionId
    expires_at: Timestamp


class SuggestionShown(Shown):
    """Two sessions that may be one person's."""

    suggestion_id: str
    session_ids: Many[SessionId]
    reason: str = Field(description="The key of metadata that says the same in both.")
    at: Timestamp


class Suggestions(Shown):
    """Pairs of sessions that may be one person's."""

    items: Many[SuggestionShown]


@calls.call("GET", "/identities/{identity_key}", Role.READ, answers=IdentityShown)
async def get_identity(identity_key: IdentityPath, parts: With) -> Response:
    """Return a person and their sessions."""
    return answered(IdentityShown.of(await identity_of_key(parts.app, identity_key)))


@calls.call("POST", "/identities/{identity_key}/sessions", Role.OPERATE, answers=IdentityShown)
async def link_identity(identity_key: IdentityPath, body: NewLinks, parts: With) -> Response:
    """Say that sessions, and those linked to the same key already, are one person's. Again is no change."""
    linked = await link_sessions(parts.app, identity_key, body.session_ids, body.display_name)
    return answered(IdentityShown.of(linked))


@calls.call("DELETE", "/sessions/{session_id}/identity", Role.OPERATE, answers=None, status=204)
async def unlink_identity(session_id: SessionPath, parts: With) -> Response:
    """Undo a session's link; what was shared stays."""
    if await unlink_session(parts.app, session_id) is None:
        raise SessionNotFound(f"session {session_id} is linked to nobody")
    return Response(status_code=HTTPStatus.NO_CONTENT)


@calls.call("GET", "/sessions/{session_id}/identity", Role.READ, answers=IdentityShown)
async def get_session_identity(session_id: SessionPath, parts: With) -> Response:
    """Return the person whose session it is, with their other sessions."""
    return answered(IdentityShown.of(await identity_of(parts.app, session_id)))


@calls.call("POST", "/sessions/{session_id}/claim-codes", Role.OPERATE, answers=CodeShown, status=201)
async def issue_claim_code(session_id: SessionPath, parts: With, body: NewCode | None = None) -> Response:
    """Give out a claim code: whoever sends it from another channel in time links that channel to this session."""
    code = await issue_code(parts.app, session_id, valid_for=(body or NewCode()).valid_for)
    return answered(CodeShown(**asdict(code)), HTTPStatus.CREATED)


@calls.call("GET", "/suggestions", Role.READ, answers=Suggestions)
async def list_suggestions(parts: With) -> Response:
    """List pairs of sessions that may be one person's."""
    found = await all_suggestions(parts.app)
    return answered(Suggestions(items=tuple(SuggestionShown(**asdict(one)) for one in found)))


@calls.call("POST", "/suggestions/{suggestion_id}/confirm", Role.OPERATE, answers=IdentityShown)
async def confirm(suggestion_id: SuggestionPath, parts: With) -> Response:
    """Link two sessions that were suggested."""
    return answered(IdentityShown.of(await confirm_suggestion(parts.app, suggestion_id)))


@calls.call("POST", "/suggestions/{suggestion_id}/dismiss", Role.OPERATE, answers=None, status=204)
async def dismiss(suggestion_id: SuggestionPath, parts: With) -> Response:
    """Say that two sessions are not one person's, and suggest them no more."""
    await dismiss_suggestion(parts.app, suggestion_id)
    return Response(status_code=HTTPStatus.NO_CONTENT)
