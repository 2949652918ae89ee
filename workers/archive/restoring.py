"""Bringing an archived session back: its events return to the log, then the owner says that it is restored.

The file stays in the archive, marked as restored: the store's copy is the live one from then on. It goes when the
session is archived anew, when somebody deletes it, or with its user's erasure.
"""

from collections.abc import Collection, Sequence
from typing import Final

from pydantic import ValidationError

from agentbus.contracts.clock import Clock
from agentbus.contracts.commands import RestoreSession
from agentbus.contracts.envelope import Input
from agentbus.contracts.errors import (
    ArchiveDamaged,
    InvalidInput,
    LimitExceeded,
    Refused,
    SessionNotFound,
    TransitionForbidden,
    UserErased,
)
from agentbus.contracts.events import Commit
from agentbus.contracts.expiry import ArchiveRef
from agentbus.contracts.ids import InputId, MessageKey, SessionId, digest_of, generation_of
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.storage.archive import ArchiveEntry, ArchiveStore, Contents
from agentbus.storage.archive.format import digest_of_session
from agentbus.storage.port import Store
from agentbus.workers.archive.index import archived_entry, archived_session, get_index, put_index
from agentbus.workers.archive.receipts import Receipts
from agentbus.workers.archive.rewriting import PAGE, Rewriting, pages_of, rewriting
from agentbus.workers.archive.storing import amended_elsewhere, log_of, strip_log
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.domain.redaction import people_of

_PUT_AWAY: Final = frozenset({SessionStatus.ARCHIVED, SessionStatus.DELETED})


async def restore_session(
    store: Store,
    archive: ArchiveStore,
    commands: Inputs,
    session: SessionId,
    *,
    clock: Clock,
    status: SessionStatus | None = None,
) -> SessionState:
    """Bring a session back from the archive, or finish what somebody else began, and return its head. Idempotent.

    `status` is what it is then: by default active if it is its conversation's latest session, else expired. If the
    owner refuses, its events leave the log again.
    Raises SessionNotFound, TransitionForbidden for a session that is not archived, UserErased if somebody in it was
    erased, ArchiveNotFound, ArchiveDamaged (also if the store no longer has the commits that its events belong to),
    ArchiveUnavailable, LimitExceeded for data too large for one command, ReplyTimeout, BusError, LockTimeout.
    """
    head = await _archived(store, session)
    if head.archive is None:
        return await _mark_restored(store, archive, head, clock)
    entry = await archived_entry(store, archive, head)
    contents = await archive.verify(entry)
    await check_not_erased(store, archive, entry)
    elsewhere = await amended_elsewhere(archive, entry)
    async with rewriting(store, head.conversation_id) as log:
        now = await _archived(store, session)
        if now.archive is None:
            return await _mark_restored(store, archive, now, clock)
        if now.archive.digest != head.archive.digest:
            raise TransitionForbidden(f"session {session} was archived anew meanwhile: try again")
        try:
            command = _command(now, now.archive, contents, status or await _status_now(store, now))
            await _put_back(store, archive, entry, log)
            await _check_same(store, contents)
            await log.hold()
            await commands.ask(command)
        except (InvalidInput, Refused, ArchiveDamaged):
            await _take_out_again(store, log, now, elsewhere)
            raise
    return await _mark_restored(store, archive, await _archived(store, session), clock)


async def check_not_erased(store: Store, archive: ArchiveStore, entry: ArchiveEntry) -> None:
    """Raise UserErased if a file holds anything of somebody from before their erasure: it is from an old backup."""
    receipts = await Receipts.load(store, archive)
    if not receipts:
        return
    head = await archive.head(entry)
    people = {(one, head.created_at) for one in people_of(head)}
    async for commit in archive.commits(entry):
        people |= {(one, commit.at) for one in people_of(commit)}
    for person, at in people:
        erased_at = receipts.erased_at(person)
        if erased_at and at and at <= erased_at:
            raise UserErased(
                f"session {entry.session_id} holds data of a user who was erased at {erased_at:%Y-%m-%d %H:%M:%S}: "
                "it is not restored; see: agentbus erase --reapply"
            )


async def _archived(store: Store, session: SessionId) -> SessionState:
    head = await store.heads.get(session)
    if head is None or head.status is SessionStatus.DELETED:
        raise SessionNotFound(f"there is no session {session}; see: agentbus archive list")
    return head


async def _mark_restored(store: Store, archive: ArchiveStore, head: SessionState, clock: Clock) -> SessionState:
    """Say in the index that the store's copy is the live one; a repeat of a restore ends here too."""
    entries = await archive.entries_of(head.session_id)
    if head.archive is not None or not entries:
        raise TransitionForbidden(f"session {head.session_id} is {head.status}, not in the archive")
    known = await get_index(store, head.session_id)
    if known is None or known.restored_at is None:
        entry = known or archived_session(head, entries[0].ref(head.message_count))
        await put_index(store, entry.model_copy(update={"restored_at": clock.now()}))
    return head


async def _take_out_again(
    store: Store, log: Rewriting, archived: SessionState, elsewhere: Collection[MessageKey]
) -> None:
    """Let what was put back leave the log, if the session is still in the archive, or was deleted there meanwhile.

    Not after a time-out: the command may be carried out yet. Whoever calls again finishes it, or takes it out.
    """
    head = await store.heads.get(archived.session_id)
    if head is not None and head.status in _PUT_AWAY and head.archive == archived.archive:
        await strip_log(log, archived, elsewhere)


async def _put_back(store: Store, archive: ArchiveStore, entry: ArchiveEntry, log: Rewriting) -> None:
    """Put the session's events back into the commits that they were in, beside other sessions' that are there now."""
    waiting: list[Commit] = []
    async for kept in archive.commits(entry):
        waiting.append(kept)
        if len(waiting) == PAGE:
            await _put_back_page(store, waiting, log)
            waiting = []
    if waiting:
        await _put_back_page(store, waiting, log)


async def _put_back_page(store: Store, kept: Sequence[Commit], log: Rewriting) -> None:
    conversation, first, last = kept[0].conversation_id, kept[0].version, kept[-1].version
    there = {
        commit.version: commit
        async for page in pages_of(store, conversation, first=first, last=last)
        for commit in page
    }
    if missing := [commit.version for commit in kept if commit.version not in there]:
        raise ArchiveDamaged(
            f"the store no longer has commit {missing[0]} of conversation {conversation}: what is in the archive can't "
            "be put back into it"
        )
    merged = [_merged(there[commit.version], commit) for commit in kept]
    if changed := [commit for commit in merged if commit != there[commit.version]]:
        await log.put(changed)


def _merged(now: Commit, kept: Commit) -> Commit:
    events = {event.event_id: event for event in (*now.events, *kept.events)}
    order = sorted(events.values(), key=lambda event: (generation_of(event.session_id), event.sequence))
    return now.model_copy(update={"events": tuple(order)})


async def _check_same(store: Store, contents: Contents) -> None:
    try:
        digest = await digest_of_session(contents.head, log_of(store, contents.head))
    except TransitionForbidden as error:
        raise ArchiveDamaged(f"session {contents.head.session_id} could not be put back whole: {error}") from None
    if digest != contents.digest:
        raise ArchiveDamaged(f"session {contents.head.session_id} in the store is not what was archived: {digest}")


async def _status_now(store: Store, head: SessionState) -> SessionStatus:
    latest = (await store.log.load([head.conversation_id]))[head.conversation_id].head
    current = latest is not None and latest.generation == head.generation
    return SessionStatus.ACTIVE if current else SessionStatus.EXPIRED


def _command(head: SessionState, archived: ArchiveRef, contents: Contents, status: SessionStatus) -> Input:
    kept = contents.head
    try:
        command = RestoreSession(
            session_id=head.session_id,
            status=status,
            digest=archived.digest,
            data=kept.data,
            metadata=kept.metadata,
            stamps=kept.stamps,
            conflicts=kept.conflicts or None,  # a worker of an earlier release knows no such fields
            turned_down=kept.turned_down or None,
        )
    except ValidationError as error:
        raise LimitExceeded(f"session {head.session_id} has more data than a command can carry: {error}") from None
    return Input(InputId(digest_of(("restore", head.session_id, contents.digest, status, str(head.version)))), command)
