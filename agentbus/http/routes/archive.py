"""What left the store, or is to: the archive, backups, and what is erased of users."""

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any, Final, TypeVar

from fastapi import Path
from fastapi import Query as InQuery
from pydantic import Field
from starlette.responses import Response

from agentbus.composition.app import need_backups
from agentbus.contracts.address import Platform
from agentbus.contracts.backup import Counts, Manifest
from agentbus.contracts.base import Id, Many, Timestamp
from agentbus.contracts.errors import BackupNotFound, FeatureNotEnabled
from agentbus.contracts.expiry import ArchiveRef, ErasureReceipt
from agentbus.contracts.ids import SessionId
from agentbus.http.calls import Calls, Paged, Parts, With, answered
from agentbus.http.problems import StillAtIt
from agentbus.http.routes.sessions import SessionPath
from agentbus.http.shown import Listed, SessionShown, Shown
from agentbus.operations.api_keys import Role
from agentbus.operations.archive import ArchivedSession, restore_archived
from agentbus.operations.archive import list_archived as archived_page
from agentbus.operations.backup import list_backups as all_backups
from agentbus.operations.backup import show_backup
from agentbus.operations.erase import Plan, erase_user, find_user
from agentbus.sessions.model.validation import checked_id
from agentbus.storage.backup import BackupPlace
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


class BackupShown(Shown):
    """A finished backup."""

    backup_id: str
    damage: str | None = Field(default=None, description="Why it can't be read.")
    created_at: Timestamp | None = None
    finished_at: Timestamp | None = None
    description: str = ""
    tags: Many[str] = ()
    base: str | None = Field(default=None, description="The backup whose files it goes on from.")
    encrypted: bool | None = None
    counts: Counts | None = Field(default=None, description="What it holds in all.")
    size: int | None = Field(default=None, description="Bytes of all its files.")

    @classmethod
    def of(cls, manifest: Manifest) -> "BackupShown":
        """Return a backup as it is shown."""
        return cls(**{name: getattr(manifest, name) for name in cls.model_fields if name != "damage"})


class Backups(Shown):
    """All finished backups, the latest first."""

    items: Many[BackupShown]


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
    restored = await _in_time(restore_archived(parts.app, named))
    return answered(SessionShown.of(restored))


@calls.call("GET", "/backups", Role.READ, answers=Backups)
async def list_backups(parts: With) -> Response:
    """List all finished backups, the latest first."""
    found = await _in_time(all_backups(_backups(parts)))
    shown = [
        BackupShown.of(one.manifest)
        if one.manifest
        else BackupShown(backup_id=one.backup_id, damage="its manifest can't be read")
        for one in found
    ]
    return answered(Backups(items=tuple(shown)))


@calls.call("GET", "/backups/{backup_id}", Role.READ, answers=BackupShown)
async def get_backup(
    backup_id: Annotated[str, Path(max_length=64, description="The backup's id, or `latest`.")], parts: With
) -> Response:
    """Return what a backup is."""
    place = _backups(parts)
    if backup_id == "latest" and not await _in_time(all_backups(place)):
        raise BackupNotFound
    return answered(BackupShown.of(await _in_time(show_backup(place, backup_id))))


@calls.call("GET", "/users/{user}/erasure", Role.ADMIN, answers=PlanShown)
async def plan_erasure(user: UserPath, parts: With) -> Response:
    """Return what an erasure of a user would erase; nothing is changed. Everything is read for it."""
    return answered(PlanShown.of(await _in_time(find_user(parts.app, user))))


@calls.call("POST", "/users/{user}/erasure", Role.ADMIN, answers=ReceiptShown)
async def erase(user: UserPath, parts: With) -> Response:
    """Erase a user for good, from everywhere. After 20 s it is answered 503: it goes on when it is called again."""
    return answered(ReceiptShown.of(await _in_time(erase_user(parts.app, user))))


def _backups(parts: Parts) -> BackupPlace:
    if parts.app.settings.backup.backup_url is None:
        raise FeatureNotEnabled("no place for backups is set: AGENTBUS_BACKUP_URL")
    return need_backups(parts.app.settings, parts.app.store)


async def _in_time(work: Coroutine[Any, Any, Result]) -> Result:
    """Return what comes of something that may take long. Raises StillAtIt for what takes longer than a call may."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await work
    except TimeoutError:
        raise_if_cancelled()
        raise StillAtIt from None
