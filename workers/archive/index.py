"""What is in the archive, as records beside the sessions: a list needs no look into the archive's folder.

The folder alone is enough to make them anew.
"""

from collections.abc import Sequence
from typing import Final

from agentbus.contracts.address import Platform
from agentbus.contracts.base import Announced, Id, Timestamp
from agentbus.contracts.errors import ArchiveNotFound
from agentbus.contracts.expiry import ArchiveRef
from agentbus.contracts.ids import SessionId
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.session import SessionState
from agentbus.storage.archive import ArchiveEntry, ArchiveStore
from agentbus.storage.damage import read_as
from agentbus.storage.port import Store

GROUP: Final = "default"
"""The group of these records: one list of them all, the latest first."""


class ArchivedSession(Announced):
    """A session that has a file in the archive."""

    session_id: SessionId
    archive: ArchiveRef
    owner: Id | None = None
    platform: Platform | None = None
    restored_at: Timestamp | None = None
    """Since then the store's copy is the live one; the file stays until it is deleted or replaced."""


def archived_session(head: SessionState, ref: ArchiveRef) -> ArchivedSession:
    """Describe a session that is in the archive."""
    platform = head.address.platform if head.address else None
    return ArchivedSession(
        session_id=head.session_id, archive=ref, owner=head.profile.owner, platform=platform, restored_at=None
    )


async def put_index(store: Store, entry: ArchivedSession) -> None:
    """Keep the record of an archived session, in place of the one that there is."""
    await store.records.put(_record(entry))


async def put_indexes(store: Store, entries: Sequence[ArchivedSession]) -> None:
    """Keep the records of many archived sessions, as `put_index` does."""
    if entries:
        await store.records.put_many([_record(entry) for entry in entries])


def _record(entry: ArchivedSession) -> Record:
    return Record(
        kind=RecordKind.ARCHIVED,
        key=entry.session_id,
        group=GROUP,
        created_at=entry.archive.at,
        data=entry.model_dump(mode="json"),
    )


async def get_index(store: Store, session: SessionId) -> ArchivedSession | None:
    """Return the record of an archived session, or None."""
    record = await store.records.get(RecordKind.ARCHIVED, session)
    return read_index(record) if record else None


async def archived_entry(store: Store, archive: ArchiveStore, head: SessionState) -> ArchiveEntry:
    """Return the file of an archived session. Raises ArchiveNotFound.

    Where a user was taken out of it, it was written anew: then the record has its digest, not the head.
    """
    known = await get_index(store, head.session_id)
    at_first = head.archive.digest if head.archive else None
    if known is None or known.archive.digest == at_first:
        return await archive.find(head.session_id, at_first)
    try:
        return await archive.find(head.session_id, known.archive.digest)
    except ArchiveNotFound:
        return await archive.find(head.session_id, at_first)


def read_index(record: Record) -> ArchivedSession:
    """Read a record. Raises StoreDamaged."""
    return read_as(f"the archive's record of {record.key}", ArchivedSession.model_validate, record.data)


async def rebuild_index(store: Store, archive: ArchiveStore) -> int:
    """Make the records that are missing, of what the archive holds; return how many. Raises ArchiveDamaged."""
    made = 0
    async for session in archive.sessions():
        entries = await archive.entries_of(session)
        if not entries or await store.records.get(RecordKind.ARCHIVED, session):
            continue
        contents = await archive.verify(entries[0])
        entry = archived_session(contents.head, entries[0].ref(contents.messages))
        live = await store.heads.get(session)
        if live is not None and live.archive is None:
            entry = entry.model_copy(update={"restored_at": live.last_activity or entries[0].at})
        await put_index(store, entry)
        made += 1
    return made
