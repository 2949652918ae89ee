"""Sessions: listed, looked at, read."""

from http import HTTPStatus
from typing import Annotated, Final

from fastapi import Header, Path
from fastapi import Query as InQuery
from pydantic import Field
from starlette.responses import Response

from agentbus.contracts.address import Platform
from agentbus.contracts.base import Id, Name
from agentbus.contracts.errors import AccessDenied
from agentbus.contracts.history import HistoryMessage, SessionFilter, SessionSummary
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.http.access import Caller
from agentbus.http.calls import By, Calls, Paged, With, answered
from agentbus.http.shown import Listed, SessionListed, SessionShown
from agentbus.operations.api_keys import Role
from agentbus.operations.paging import page_after
from agentbus.operations.sessions import list_sessions as sessions_page
from agentbus.storage.history import history_page
from agentbus.storage.port import Store
from agentbus.workers.domain.access import DENIED

_MOST_PAGES: Final = 20
"""Pages of the store that are looked through for one of ours, where some are left out."""

calls = Calls("sessions")

SessionPath = Annotated[str, Path(max_length=64, description="The session's id.")]


class Sessions(Paged):
    """Which sessions are listed. A field with `!` is one that they must not have."""

    platform: Platform | None = None
    account: Id | None = None
    chat: Id | None = None
    user: Id | None = Field(default=None, description="The user of the session's last address.")
    owner: Id | None = Field(default=None, description="Whose sessions.")
    agent: Id | None = None
    tag: list[Name] = Field(default=[], max_length=16, description="Sessions that have all of these.")
    status: SessionStatus | None = Field(default=None, description="Without it: all but the deleted ones.")
    identity: Id | None = Field(default=None, description="The linked sessions of this person.")
    conflicts: bool | None = Field(default=None, description="Sessions with open conflicts, or without.")
    not_platform: list[Platform] = Field(default=[], max_length=16, alias="platform!")
    not_chat: list[Id] = Field(default=[], max_length=16, alias="chat!")
    not_user: list[Id] = Field(default=[], max_length=16, alias="user!")
    not_owner: list[Id] = Field(default=[], max_length=16, alias="owner!")
    not_agent: list[Id] = Field(default=[], max_length=16, alias="agent!")
    not_tag: list[Name] = Field(default=[], max_length=16, alias="tag!")
    not_status: list[SessionStatus] = Field(default=[], max_length=16, alias="status!")

    def where(self, by: Caller) -> SessionFilter:
        """Return the filter by which they are found, of a user's own alone. Raises AccessDenied for another's."""
        if by.user is not None and self.owner not in {None, by.user}:
            raise AccessDenied(DENIED)
        return SessionFilter(
            platform=self.platform,
            account=self.account,
            chat=self.chat,
            user=self.user,
            owner=by.user if by.user is not None else self.owner,
            agent_id=self.agent,
            tags=tuple(self.tag),
            status=self.status,
            identity=self.identity,
            conflicts=self.conflicts,
        )

    def leaves_out(self, one: SessionSummary) -> bool:
        """Whether a session that was found is one that must not be listed."""
        address = one.address
        return (
            (
                address is not None
                and (
                    address.platform in self.not_platform
                    or address.chat in self.not_chat
                    or address.user in self.not_user
                )
            )
            or one.owner in self.not_owner
            or one.agent_id in self.not_agent
            or any(tag in one.tags for tag in self.not_tag)
            or one.status in self.not_status
        )


@calls.call("GET", "/sessions", Role.READ, answers=Listed[SessionListed], for_users=True)
async def list_sessions(query: Annotated[Sessions, InQuery()], parts: With, by: By) -> Response:
    """List sessions, the latest activity first; on behalf of a user those that they own.

    A page may be short, or empty, and still have a cursor, where some are left out.
    """
    where = query.where(by)
    page = await _page(parts.app.store, where, query)
    return answered(page)


@calls.call(
    "GET",
    "/sessions/{session_id}",
    Role.READ,
    answers=SessionShown,
    for_users=True,
    others={304: {"description": "It is as whoever asks knows it."}},
)
async def get_session(
    session_id: SessionPath,
    parts: With,
    by: By,
    if_none_match: Annotated[str | None, Header(description="The ETag that it had.")] = None,
) -> Response:
    """Return a session with what is kept in it. Its ETag is its version."""
    state = await parts.engine.existing(session_id, by.user)
    tag = etag_of(state)
    if if_none_match is not None and names_tag(if_none_match, tag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers={"ETag": tag})
    return answered(SessionShown.of(state), ETag=tag)


@calls.call("GET", "/sessions/{session_id}/messages", Role.READ, answers=Listed[HistoryMessage], for_users=True)
async def list_messages(session_id: SessionPath, query: Annotated[Paged, InQuery()], parts: With, by: By) -> Response:
    """List a session's messages as they read now, the latest page first; a page reads from old to new."""
    state = await parts.engine.existing(session_id, by.user)
    with page_after(query.after):
        page = await history_page(parts.app.store, state, limit=query.limit, cursor=query.after)
    return answered(Listed[HistoryMessage].of(page))


def etag_of(state: SessionState) -> str:
    """Return a session's ETag."""
    return f'"{state.version}"'


def names_tag(given: str, tag: str) -> bool:
    """Whether a list of ETags, weak ones too, names one, or any."""
    named = {one.strip().removeprefix("W/") for one in given.split(",")}
    return not named.isdisjoint({tag, "*"})


async def _page(store: Store, where: SessionFilter, query: Sessions) -> Listed[SessionSummary]:
    """Return a page of the sessions found, without those that are left out."""
    found: list[SessionSummary] = []
    cursor = query.after
    for _ in range(_MOST_PAGES):
        page = await sessions_page(store, where, limit=query.limit - len(found), cursor=cursor)
        found += [one for one in page.items if not query.leaves_out(one)]
        cursor = page.cursor
        if cursor is None or len(found) == query.limit:
            break
    return Listed[SessionSummary](items=tuple(found), cursor=cursor)
