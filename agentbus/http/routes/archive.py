"""What left the store, or is to: the archive, and what is erased of users."""

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any, Final, TypeVar

from fastapi import Path
from fastapi import Query as InQuery
from pydantic import Field
from starlette.responses import Response

from agentbus.contracts.address import Platform
from agentbus.contracts.base import Id, Many, Timestamp
from agentbus.contracts.errors import FeatureNotEnabled
from agentbus.contracts.expiry import ArchiveRef, ErasureReceipt
from agentbus.contracts.ids import SessionId
from agentbus.http.calls import Calls, Paged, With, answered
from agentbus.http.problems import StillAtIt
from agentbus.http.routes.sessions import SessionPath
from agentbus.http.shown import Listed, SessionShown, Shown
from agentbus.operations.api_keys import Role
from agentbus.operations.archive import ArchivedSession, restore_archived
from agentbus.operations.archive import list_archived as archived_page
from agentbus.operations.erase import Plan, erase_user, find_user
from agentbus.sessions.model.validation import checked_id
from agentbus.workers.concurrency import raise_if_cancelled

calls = Calls("archive")

PATIENCE_SECONDS: Final = 20.0
"""Seconds for which a call that may take long is waited for; it goes on when it is made again."""

UserPath = Annotated[Id, Path(description="The user, as sessions name their owner.")]
Result = TypeVar("Result")


class ArchivedShown(Shown):
    """A session that has a file in the archive."""

    session_id: SessionId
    owner: str | None
    platform: Platform | None
    archive: ArchiveRef
    restored_at: Timestamp | None = Field(description="Since then the store's copy is the live one.")

    @classmethod
    def of(cls, archived: ArchivedSession) -> "ArchivedShown":
        """Return an archived session as it is shown."""
        return cls(**dict(archived))


class PlanShown(Shown):
    """What an erasure would erase."""

    people: Many[str] = Field(description="The user's ids, those on linked channels too.")
    identities: Many[str]
    sessions: Many[SessionId]
    messages: int
    archives: int
    records: int
    parked: int

    @classmethod
    def of(cls, plan: Plan) -> "PlanShown":
        """Return a plan as it is shown."""
        listed = {name: tuple(sorted(getattr(plan, name))) for name in ("people", "identities", "sessions")}
        counts = {name: getattr(plan, name) for name in ("messages", "archives", "records", "parked")}
        return cls(**listed, **counts)


class ReceiptShown(Shown):
    """What was erased of a user: none of their ids is in it."""

    receipt_id: str
    subject: str = Field(description="A keyed digest of the user's id.")
    at: Timestamp
    sessions: Many[SessionId]
    messages: int
    archives: int
    records: int
    parked: int

    @classmethod
    def of(cls, receipt: ErasureReceipt) -> "ReceiptShown":
        """Return a receipt as it is shown."""
        return cls(**{name: getattr(receipt, name) for name in cls.model_fields})


@calls.call("GET", "/archive", Role.READ, answers=Listed[ArchivedShown])
async def list_archived(query: Annotated[Paged, InQuery()], parts: With) -> Response:
    """List the sessions in the archive, the latest first."""
    page = await archived_page(parts.app.store, limit=query.limit, cursor=query.after)
    return answered(Listed[ArchivedShown](items=tuple(map(ArchivedShown.of, page.items)), cursor=page.cursor))


@calls.call("POST", "/archive/{session_id}/restore", Role.ADMIN, answers=SessionShown)
async def restore_archived_session(session_id: SessionPath, parts: With) -> Response:
    """Bring an archived session back with its history. Again is no change."""
    named = checked_id(session_id)
    if parts.app.settings.archive.archive_url is None:
        raise FeatureNotEnabled("no archive is set: AGENTBUS_ARCHIVE_URL")
    restored = await in_time(restore_archived(parts.app, named))
    return answered(SessionShown.of(restored))


@calls.call("GET", "/users/{user}/erasure", Role.ADMIN, answers=PlanShown)
async def plan_erasure(user: UserPath, parts: With) -> Response:
    """Return what an erasure of a user would erase; nothing is changed. Everything is read for it."""
    return answered(PlanShown.of(await in_time(find_user(parts.app, user))))


@calls.call("POST", "/users/{user}/erasure", Role.ADMIN, answers=ReceiptShown)
async def erase(user: UserPath, parts: With) -> Response:
    """Erase a user for good, from everywhere. After 20 s it is answered 503: it goes on when it is called again."""
    return answered(ReceiptShown.of(await in_time(erase_user(parts.app, user))))


async def in_time(work: Coroutine[Any, Any, Result]) -> Result:
    """Return what comes of something that may take long. Raises StillAtIt for what takes longer than a call may."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await work
    except TimeoutError:
        raise_if_cancelled()
        raise StillAtIt from None
