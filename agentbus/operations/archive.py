"""What is in the archive: listed, read, held to its digests, brought back, deleted."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from agentbus.composition.app import App, need_archive
from agentbus.contracts.errors import ArchiveDamaged, ArchiveNotFound
from agentbus.contracts.history import Page
from agentbus.contracts.ids import SessionId
from agentbus.contracts.records import RecordKind
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.operations.paging import page_after
from agentbus.storage.archive import ArchiveEntry, ArchiveStore, Contents
from agentbus.storage.damage import readable
from agentbus.storage.port import Store
from agentbus.workers.archive.index import GROUP, ArchivedSession, read_index, rebuild_index
from agentbus.workers.archive.restoring import restore_session
from agentbus.workers.archive.storing import delete_archived

__all__ = [
    "ArchivedSession", "Verified", "delete_archived", "list_archived", "read_archived", "rebuild_index",
    "restore_archived", "verify_archive", "verify_archived",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What reading a session's file to its end came to."""

    session_id: SessionId
    url: str
    size: int
    """Bytes."""
    digest: str
    messages: int | None = None
    """How many are in it; None for a damaged one."""
    damage: str | None = None
    """What is wrong with it; None if nothing is."""


async def list_archived(store: Store, *, limit: int = 50, cursor: str | None = None) -> Page[ArchivedSession]:
    """Return a page of the sessions in the archive, the latest first, by the records that the store keeps of them.

    A record that can't be read is told and passed over: a page may be short and still have a cursor. Raises
    InvalidCursor, StoreError.
    """
    with page_after(cursor):
        page = await store.records.page(RecordKind.ARCHIVED, GROUP, limit=limit, cursor=cursor)
    return Page(items=tuple(readable(page.items, read_index)), cursor=page.cursor)


async def read_archived(archive: ArchiveStore, session: SessionId) -> tuple[ArchiveEntry, Contents]:
    """Return where an archived session's latest file is and what is in it, held to its digest.

    Raises ArchiveNotFound, ArchiveDamaged, ArchiveUnavailable.
    """
    entry = await archive.find(session)
    return entry, await archive.verify(entry)


async def verify_archived(archive: ArchiveStore, session: SessionId) -> Verified:
    """Read a session's latest file to its end and say what that came to. Raises ArchiveNotFound, ArchiveUnavailable."""
    return await _verified(archive, await archive.find(session))


async def verify_archive(archive: ArchiveStore) -> AsyncIterator[Verified]:
    """Read every file to its end; yield what that came to, one after the other. Raises ArchiveUnavailable."""
    async for entry in archive.entries():
        yield await _verified(archive, entry)


async def restore_archived(app: App, session: SessionId, *, status: SessionStatus | None = None) -> SessionState:
    """Bring a session back with its history, and return its head. Idempotent; a session worker must run.

    `status` is what it is then: by default active, or expired if its conversation has a later session. The file stays.
    Raises ConfigurationError if the settings name no archive, and as
    `agentbus.workers.archive.restoring.restore_session`.
    """
    archive = need_archive(app.settings, app.store)
    return await restore_session(app.store, archive, app.commands, session, clock=app.clock, status=status)


async def _verified(archive: ArchiveStore, entry: ArchiveEntry) -> Verified:
    found = Verified(session_id=entry.session_id, url=entry.url, size=entry.size, digest=entry.digest)
    try:
        contents = await archive.verify(entry)
    except (ArchiveDamaged, ArchiveNotFound) as error:
        return replace(found, damage=str(error))
    return replace(found, messages=contents.messages)
