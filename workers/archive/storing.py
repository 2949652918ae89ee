"""Moving a session to the archive in three steps, each safe to repeat: write and verify, say so, strip the log.

The owner says so, and refuses if anything happened after what is in the file. Only then do the events leave the log;
its commits stay, with their inputs: a message that is delivered again a month later is still a repeat. So do events
that are about something outside the session (`agentbus.workers.domain.stripping`).
"""

from collections.abc import AsyncIterator, Collection
from contextlib import suppress

from agentbus.contracts.commands import ArchiveSession
from agentbus.contracts.envelope import Input
from agentbus.contracts.errors import ArchiveNotFound, EditConflict, Refused, TransitionForbidden
from agentbus.contracts.events import Commit
from agentbus.contracts.expiry import ArchiveRef
from agentbus.contracts.ids import InputId, MessageKey, SessionId, digest_of
from agentbus.contracts.records import RecordKind
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.storage.archive import ArchiveEntry, ArchiveStore
from agentbus.storage.archive.format import digest_of_session
from agentbus.storage.port import Store
from agentbus.workers.archive.index import archived_entry, archived_session, get_index, put_index
from agentbus.workers.archive.rewriting import Rewriting, pages_of, rewriting
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.domain.stripping import messages_in, stripped


async def archive_by_itself(store: Store, archive: ArchiveStore, commands: Inputs, head: SessionState) -> ArchiveRef:
    """Move a session of any length, or go on where somebody else stopped, as `archive_session` does.

    Its log is read piece by piece, as often as that takes, and is nobody's while the file is written.
    """
    head = await store.heads.get(head.session_id) or head
    if head.archive is None:
        ref = await write_archive(store, archive, head)
        try:
            await _say_so(store, commands, head, ref)
        except Refused:
            await take_back(store, archive, head.session_id, ref)
            raise
    now = await store.heads.get(head.session_id)
    if now is None or now.status is not SessionStatus.ARCHIVED or now.archive is None:
        raise TransitionForbidden(f"session {head.session_id} is no longer archived: it was restored or deleted")
    if head.archive is not None:
        # Written by somebody who is gone: nothing leaves the log before it was seen to be whole.
        await archive.verify(await archived_entry(store, archive, now))
    await strip_session(store, archive, now)
    await _remove_earlier(archive, await archived_entry(store, archive, now))
    return now.archive


async def _say_so(store: Store, commands: Inputs, head: SessionState, ref: ArchiveRef) -> None:
    """Let the owner say that a session is in the archive: the second step.

    While the file was being written somebody may have been erased, who would be in it for good. So the log is held to
    the file once more, with nobody rewriting it. Raises EditConflict if they differ, and what the owner refused.
    """
    async with rewriting(store, head.conversation_id) as log:
        now = await store.heads.get(head.session_id)
        if now is not None and now.archive is None and await digest_of_session(now, log_of(store, now)) != ref.digest:
            raise EditConflict(f"session {head.session_id} was changed while it was being archived: archive it again")
        await log.hold()
        await commands.ask(archive_command(head, ref))


def can_be_archived(head: SessionState) -> bool:
    """Whether a session has ended, and all of it is in the store."""
    return not head.is_live and head.status is not SessionStatus.DELETED and head.archive is None


async def write_archive(store: Store, archive: ArchiveStore, head: SessionState) -> ArchiveRef:
    """Write an ended session to the archive and read it back: the first step. The same session gives the same file.

    Raises TransitionForbidden for a session that has not ended, or whose log was stripped meanwhile.
    """
    if not can_be_archived(head):
        raise TransitionForbidden(f"session {head.session_id} is {head.status}: one that has ended can be archived")
    return await archive.write(head, log_of(store, head))


def archive_command(head: SessionState, ref: ArchiveRef) -> Input:
    """Return the command of the second step; the same for the same state of the session."""
    command = ArchiveSession(session_id=head.session_id, archive=ref)
    return Input(InputId(digest_of(("archive", head.session_id, ref.digest, str(head.version)))), command)


async def strip_session(store: Store, archive: ArchiveStore, head: SessionState) -> int:
    """Take an archived session's events out of the log: the third step. Return how many commits changed. Idempotent.

    Nothing happens unless the head in the store says that it is archived; nothing goes that is not in the archive.
    Raises ArchiveNotFound, ArchiveDamaged, ArchiveUnavailable, LockTimeout.
    """
    async with rewriting(store, head.conversation_id) as log:
        now = await store.heads.get(head.session_id)
        if now is None or now.status is not SessionStatus.ARCHIVED or now.archive is None:
            return 0
        known = await get_index(store, now.session_id)
        if known is None or known.restored_at or known.archive.sequence != now.archive.sequence:
            await put_index(store, archived_session(now, now.archive))
        elsewhere = await amended_elsewhere(archive, await archived_entry(store, archive, now))
        return await strip_log(log, now, elsewhere)


async def strip_log(log: Rewriting, head: SessionState, elsewhere: Collection[MessageKey]) -> int:
    """Take what is in the archive of a session out of the log, as `strip_session` does; return how many changed.

    `elsewhere`: the messages that its events amend and that are not its own. Idempotent.
    """
    session, last = head.session_id, head.archive.sequence if head.archive else 0
    return await log.change(
        lambda commit: stripped(commit, session, last, elsewhere), first=head.first_version, last=head.version
    )


async def delete_archived(store: Store, archive: ArchiveStore, session: SessionId) -> None:
    """Delete a restored or deleted session's files from the archive. Idempotent.

    Raises TransitionForbidden for one that is archived: they are all that there is of it.
    """
    head = await store.heads.get(session)
    if head is not None and head.status is SessionStatus.ARCHIVED:
        raise TransitionForbidden(f"the archive has all that there is of session {session}: restore or delete it first")
    found = await archive.delete(session)
    if not await store.records.delete(RecordKind.ARCHIVED, session) and not found:
        raise ArchiveNotFound(f"session {session} is not in the archive {archive.place}")


async def log_of(store: Store, head: SessionState) -> AsyncIterator[Commit]:
    """Yield the commits in which a session's events are, oldest first."""
    async for page in pages_of(store, head.conversation_id, first=head.first_version, last=head.version):
        for commit in page:
            yield commit


async def amended_elsewhere(archive: ArchiveStore, entry: ArchiveEntry) -> set[MessageKey]:
    """Return the messages that an archived session's events amend, and that are not its own.

    The file tells, not the log: of that a part may have gone already, when whoever began to strip it died.
    """
    found = set[MessageKey]()
    async for commit in archive.commits(entry):
        found |= commit.targets
    if found:
        async for commit in archive.commits(entry):
            found -= messages_in(commit)
    return found


async def take_back(store: Store, archive: ArchiveStore, session: SessionId, ref: ArchiveRef) -> None:
    """Remove a file that the owner refused, unless it is what another worker archived."""
    head = await store.heads.get(session)
    if head is None or head.archive is None or head.archive.digest != ref.digest:
        with suppress(ArchiveNotFound):
            await archive.delete_file(await archive.find(session, ref.digest))


async def _remove_earlier(archive: ArchiveStore, latest: ArchiveEntry) -> None:
    """Remove what the session was when it was archived before, and what crashes left."""
    for entry in await archive.entries_of(latest.session_id):
        if entry.digest != latest.digest and entry.sequence <= latest.sequence:
            await archive.delete_file(entry)
    await archive.delete_left_overs(latest.session_id)
