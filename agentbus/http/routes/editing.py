"""Sessions: created, changed, ended, deleted; said something in, shared."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

from fastapi import Header, Path
from fastapi import Query as InQuery
from pydantic import BeforeValidator, Field, JsonValue, model_validator
from starlette.responses import Response

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.base import Id, JsonObject, Many, Name, Numbers, Text, Timestamp
from agentbus.contracts.changes import FieldChanges
from agentbus.contracts.commands import AnyCommand, SendReply, SetVisibility, ShareSession, UpdateSession
from agentbus.contracts.errors import EditConflict, SessionNotFound
from agentbus.contracts.ids import SessionIdField
from agentbus.contracts.messages import OutboundMessage, TextContent
from agentbus.contracts.profile import MaxHistory, Permission, ProfileChanges, Seconds, SessionType, Tags, Visibility
from agentbus.contracts.session import SessionState
from agentbus.http.access import Caller
from agentbus.http.calls import By, Calls, Fence, Given, IdempotencyKey, Parts, Query, With, answered
from agentbus.http.problems import NotAllowed, PreconditionFailed
from agentbus.http.routes.sessions import SessionPath, etag_of, names_tag
from agentbus.http.shown import Said, SessionShown
from agentbus.operations.api_keys import Role
from agentbus.operations.sessions import unblock_session
from agentbus.sessions.model.types import ChildPolicy
from agentbus.sessions.model.validation import checked_for, checked_id, checking
from agentbus.sessions.sections.shared import Caller as Holding
from agentbus.workers.domain.access import Right

calls = Calls("sessions")

_CLEARED: Final = ("agent_id", "ai_model", "expires_at", "lifetime", "idle_timeout")

UserPath = Annotated[Id, Path(description="The user.")]


class NewSession(Given):
    """A session to be created. With a chat and a user it is that chat's; without a chat, one of its own."""

    chat_id: Id | None = None
    user_id: Id | None = Field(default=None, description="Whose it is; of a call on behalf of a user, theirs.")
    platform: Platform = Platform.API
    account: Id = "default"
    thread_id: Id | None = None
    session_type: SessionType = SessionType.PRIVATE
    agent_id: Id | None = None
    parent_id: SessionIdField | None = None
    ai_model: Name | None = None
    tags: Tags = ()
    template: Name | None = None
    max_history: MaxHistory | None = None
    idle_timeout: Seconds | None = None
    expires_in: Seconds | None = None
    data: JsonObject = Field(default_factory=dict)
    metadata: JsonObject = Field(default_factory=dict)
    keep_live: bool = Field(default=False, description="A live session of that chat is answered, not superseded.")

    @model_validator(mode="after")
    def _has_a_user_in_its_chat(self) -> "NewSession":
        if self.chat_id is not None and self.user_id is None:
            raise ValueError("a session of a chat needs a user_id")
        return self


def _all_numbers(given: object) -> object:
    """Raise ValueError for an object with anything else in it: pydantic would make an error, or two, for each."""
    if isinstance(given, dict) and not all(isinstance(one, int | float) for one in given.values()):
        raise ValueError("not all are numbers")
    return given


class Fields(Given):
    """Changes to top-level keys of data or metadata; all others stay."""

    set: JsonObject = Field(default_factory=dict)
    remove: Annotated[Many[str], Field(max_length=10_000)] = ()
    increment: Annotated[Numbers, BeforeValidator(_all_numbers)] = Field(
        default_factory=dict, description="What to add to numbers, 0 where there is none."
    )


class SessionChanges(Given):
    """Changes to a session: all of them are made, or none. What is left out stays; null takes away."""

    data: Fields | None = None
    metadata: Fields | None = None
    add_tags: Tags = ()
    remove_tags: Tags = ()
    session_type: SessionType | None = None
    agent_id: Id | None = None
    ai_model: Name | None = None
    expires_at: Timestamp | None = None
    lifetime: Seconds | None = Field(default=None, description="Seconds from a refresh to its end.")
    idle_timeout: Seconds | None = Field(default=None, description="Seconds without activity that make it idle.")

    def profile(self, seen: SessionState | None) -> ProfileChanges:
        """Return the changes to a profile, made only to the one that was `seen`."""
        given = {name: getattr(self, name) for name in self.model_fields_set if name in ProfileChanges.model_fields}
        cleared = tuple(name for name in _CLEARED if name in given and given[name] is None)
        set_here = {name: value for name, value in given.items() if value is not None}
        if seen and (cleared or set_here.keys() - {"add_tags", "remove_tags"}):
            set_here["seen"] = seen.profile.model_copy(update={"shares": {}})
        return ProfileChanges(**set_here, clear=cleared)


class Why(Given):
    """Why something is done."""

    reason: Name | None = None


class NewState(Why):
    """The state that a session is to be in."""

    state: Id = Field(description="A status, or a state of the installation's own.")


class Longer(Given):
    """By how much a session's end is moved."""

    seconds: Seconds


class NewReply(Given):
    """What a bot says, in Markdown."""

    text: Text = Field(min_length=1)
    to: Address | None = Field(default=None, description="Where it goes; by default where the last message came from.")


class Share(Given):
    """What another user may."""

    permission: Permission


class Seeing(Given):
    """Who may see a session besides its owner."""

    visibility: Literal[Visibility.PRIVATE, Visibility.PUBLIC]


class Deletion(Query):
    """How a session is deleted."""

    children: ChildPolicy = Field(default=ChildPolicy.REFUSE, description="What becomes of its children.")


@calls.call("POST", "/sessions", Role.OPERATE, answers=SessionShown, status=201, for_users=True)
async def create_session(body: NewSession, parts: With, by: By, idempotency_key: IdempotencyKey = None) -> Response:
    """Create a session. One that is live in its chat is superseded, unless `keep_live` is set."""
    if by.user is not None and body.user_id not in {None, by.user}:
        raise NotAllowed("the session would be another user's")
    given = dict(body) | {"custom_data": body.data, "user_id": body.user_id or by.user}
    del given["data"]
    made = await parts.sessions.create_session(**given, request_id=idempotency_key)
    state = await parts.engine.existing(made.session_id)
    place = {"Location": f"/v1/sessions/{state.session_id}"}
    return answered(SessionShown.of(state), HTTPStatus.CREATED, ETag=etag_of(state), **place)


@calls.call("PATCH", "/sessions/{session_id}", Role.OPERATE, answers=SessionShown, for_users=True)
async def change_session(
    session_id: SessionPath,
    body: SessionChanges,
    *,
    parts: With,
    by: By,
    if_match: Annotated[
        str | None, Header(description="The ETag that it has: refused if it has another (412).")
    ] = None,
    fence: Fence = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Change several things of a session at once: all of it is done, or nothing."""
    seen: SessionState | None = None
    if if_match is not None:
        seen = await parts.engine.existing(session_id, by.user, Right.WRITE)
        if not names_tag(if_match, etag_of(seen)):
            raise PreconditionFailed
    with checking("the session can't be changed like that"):
        changes = {
            "data": _changes(body.data, seen.data if seen else None),
            "metadata": _changes(body.metadata, seen.metadata if seen else None),
            "profile": body.profile(seen),
        }
    try:
        return await _done(parts, by, session_id, UpdateSession, request_id=idempotency_key, fence=fence, **changes)
    except EditConflict as error:
        raise PreconditionFailed from error


@calls.call("POST", "/sessions/{session_id}/close", Role.OPERATE, answers=SessionShown, for_users=True)
async def close_session(
    session_id: SessionPath,
    *,
    parts: With,
    by: By,
    body: Why | None = None,
    fence: Fence = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """End a session; it stays readable, and the next message begins another."""
    reason = body.reason if body else None
    await parts.sessions.close_session(
        session_id, user_id=by.user, reason=reason, fence=fence, request_id=idempotency_key
    )
    return await _now(parts, session_id)


@calls.call("POST", "/sessions/{session_id}/state", Role.OPERATE, answers=SessionShown, for_users=True)
async def set_session_state(
    session_id: SessionPath,
    body: NewState,
    *,
    parts: With,
    by: By,
    fence: Fence = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Move a session to another status, or to a state of the installation's own: `archived` puts it away."""
    await parts.sessions.set_session_state(
        session_id, body.state, user_id=by.user, reason=body.reason, fence=fence, request_id=idempotency_key
    )
    return await _now(parts, session_id)


@calls.call("POST", "/sessions/{session_id}/extend", Role.OPERATE, answers=SessionShown, for_users=True)
async def extend_session(
    session_id: SessionPath,
    body: Longer,
    *,
    parts: With,
    by: By,
    fence: Fence = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Move a session's end by some seconds: from now, if it had none."""
    await parts.sessions.extend_session_lifetime(
        session_id, body.seconds, user_id=by.user, fence=fence, request_id=idempotency_key
    )
    return await _now(parts, session_id)


@calls.call("POST", "/sessions/{session_id}/refresh", Role.OPERATE, answers=SessionShown, for_users=True)
async def refresh_session(
    session_id: SessionPath, *, parts: With, by: By, fence: Fence = None, idempotency_key: IdempotencyKey = None
) -> Response:
    """Count as activity, and begin a session's lifetime anew if it has one."""
    await parts.sessions.refresh_session(session_id, user_id=by.user, fence=fence, request_id=idempotency_key)
    return await _now(parts, session_id)


@calls.call("POST", "/sessions/{session_id}/unblock", Role.OPERATE, answers=SessionShown)
async def unblock(session_id: SessionPath, parts: With) -> Response:
    """Let a blocked session go on without the parked input that it waits for."""
    app = parts.app
    await unblock_session(app.bus, checked_id(session_id), scope=app.settings.session.scope, by=app.by)
    return await _now(parts, session_id)


@calls.call("DELETE", "/sessions/{session_id}", Role.ADMIN, answers=None, status=204, for_users=True)
async def delete_session(
    session_id: SessionPath,
    query: Annotated[Deletion, InQuery()],
    *,
    parts: With,
    by: By,
    fence: Fence = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Delete a session: it is no longer found, shown or listed. Erasing what it holds is a matter of its own."""
    deleted = await parts.sessions.delete_session(
        session_id, user_id=by.user, children=query.children, fence=fence, request_id=idempotency_key
    )
    if not deleted:
        raise SessionNotFound(f"there is no session {session_id}")
    return Response(status_code=HTTPStatus.NO_CONTENT)


@calls.call("POST", "/sessions/{session_id}/replies", Role.OPERATE, answers=Said, for_users=True)
async def say(
    session_id: SessionPath, body: NewReply, parts: With, by: By, idempotency_key: IdempotencyKey = None
) -> Response:
    """Say something in a session as its bot: it is committed, then sent to where the last message came from.

    With the same `Idempotency-Key` it is said once.
    """
    message = OutboundMessage(address=body.to, content=TextContent(text=body.text))
    named = checked_for(session_id, by.user)
    command = SendReply(session_id=named, actor=by.user, message=message)
    reply = await parts.engine.send(command, request_id=idempotency_key)
    said = {"message": reply.message, "version": reply.version, "repeated": reply.repeated}
    return answered(Said(session_id=reply.session_id or named, **said))


@calls.call("PUT", "/sessions/{session_id}/shares/{user}", Role.OPERATE, answers=SessionShown, for_users=True)
async def share_session(
    session_id: SessionPath,
    user: UserPath,
    body: Share,
    *,
    parts: With,
    by: By,
    fence: Fence = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Let another user read a session, or write to it. On behalf of a user: if they own it."""
    permission = body.permission
    return await _done(
        parts, by, session_id, ShareSession, request_id=idempotency_key, fence=fence, user=user, permission=permission
    )


@calls.call("DELETE", "/sessions/{session_id}/shares/{user}", Role.OPERATE, answers=SessionShown, for_users=True)
async def revoke_share(
    session_id: SessionPath,
    user: UserPath,
    *,
    parts: With,
    by: By,
    fence: Fence = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Take back what was shared with a user."""
    return await _done(parts, by, session_id, ShareSession, request_id=idempotency_key, fence=fence, user=user)


@calls.call("PUT", "/sessions/{session_id}/visibility", Role.OPERATE, answers=SessionShown, for_users=True)
async def set_visibility(
    session_id: SessionPath,
    body: Seeing,
    *,
    parts: With,
    by: By,
    fence: Fence = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Say who may see a session besides its owner."""
    return await _done(
        parts, by, session_id, SetVisibility, request_id=idempotency_key, fence=fence, visibility=body.visibility
    )


def _changes(given: Fields | None, seen: Mapping[str, JsonValue] | None) -> FieldChanges:
    """Return changes to data or metadata, made only to what was `seen` of it."""
    if given is None:
        return FieldChanges()
    keys = [*given.set, *given.remove]
    return FieldChanges(
        values=given.set,
        remove=given.remove,
        expected={} if seen is None else {key: seen[key] for key in keys if key in seen},
        absent=() if seen is None else tuple(key for key in keys if key not in seen),
        increments=given.increment or None,
    )


async def _done(
    parts: Parts,
    by: Caller,
    session_id: str,
    kind: Callable[..., AnyCommand],
    *,
    request_id: str | None,
    fence: int | None,
    **fields: Any,
) -> Response:
    """Have a command carried out on behalf of whoever calls, and return what the session is then."""
    await parts.commands.carry_out(session_id, kind, Holding(by.user, fence, request_id), **fields)
    return await _now(parts, session_id)


async def _now(parts: Parts, session_id: str) -> Response:
    state = await parts.engine.existing(session_id)
    return answered(SessionShown.of(state), ETag=etag_of(state))
