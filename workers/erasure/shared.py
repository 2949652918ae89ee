"""Taking a user out of a conversation that others write in too: log, heads, checkpoints, archive files."""

from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

from agentbus.contracts.clock import Clock
from agentbus.contracts.events import Commit, DataSet, MetadataSet
from agentbus.contracts.ids import ConversationId, SessionId
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.session import SessionState
from agentbus.storage.archive import ArchiveEntry, ArchiveStore
from agentbus.storage.port import Store
from agentbus.storage.reading import iter_log, iter_records
from agentbus.workers.archive.index import archived_session, get_index, put_index
from agentbus.workers.archive.rewriting import rewrite_head, rewriting
from agentbus.workers.domain.pseudonyms import renamed, renamed_json
from agentbus.workers.domain.redaction import Written, scrub, scrub_head, without_written
from agentbus.workers.erasure.search import all_sessions
from agentbus.workers.erasure.traces import Person


class SharedConversation:
    """A conversation that a person is taken out of. Each step is idempotent."""

    def __init__(
        self, store: Store, archive: ArchiveStore | None, clock: Clock, conversation: ConversationId, person: Person
    ) -> None:
        self._store = store
        self._archive = archive
        self._clock = clock
        self._conversation = conversation
        self._person = person
        self._subject = person.subject
        self._digested = False
        self._written = Written(person.subject)
        self._from_files: list[Commit] = []

    async def scrub(self, archived: Sequence[SessionId], *, digested: bool) -> None:
        """Take the person out of everything. `digested`: the id of an input in the log becomes a digest."""
        self._digested = digested
        for session in archived:
            await self._rewrite_files(session)
        async with rewriting(self._store, self._conversation) as log:
            async for commit in iter_log(self._store, self._conversation):
                if self._person.covers(commit.at):
                    self._written.add(commit)
            await self._scrub_figures(RecordKind.TRACKED, self._conversation)
            # The heads first: once the latest says so, repeats are looked for by both forms of their ids.
            for head in await all_sessions(self._store, self._conversation):
                await self._scrub_session(head)
            await log.change(Scrubbing(self._person, self._from_files).scrubbed)

    def _scrubbed_head(self, head: SessionState) -> SessionState:
        covered = self._person.covers(head.created_at)
        return self._without_person(head, self._written) if covered else head

    def _without_person(self, head: SessionState, written: Written) -> SessionState:
        return scrub_head(head, self._subject, digested=self._digested, written=written)

    async def _scrub_session(self, head: SessionState) -> None:
        latest = (await self._store.log.load([self._conversation]))[self._conversation].head
        if latest is not None and latest.generation == head.generation:
            await rewrite_head(self._store, self._conversation, self._scrubbed_head, self._clock)
        elif (changed := self._scrubbed_head(head)) != head:
            await self._store.heads.save([changed])
        index = await get_index(self._store, head.session_id)
        if index is not None and (renamed_index := renamed(index, self._subject.pseudonyms)) != index:
            await put_index(self._store, renamed_index)
        await self._scrub_checkpoints(head.session_id)
        await self._scrub_figures(RecordKind.USAGE, head.session_id)
        async for record in iter_records(self._store, RecordKind.TRACKED_EVENT, head.session_id):
            await self._scrub_record(record, {"data": {}})  # which may be anybody's words too
        # What an agent's components keep may be anybody's words, in any form: nothing finds a person's in there.
        await self._store.records.delete(RecordKind.COMPONENTS, head.session_id)

    async def _scrub_checkpoints(self, session: SessionId) -> None:
        if self._subject.owns:
            await self._store.records.delete_group(RecordKind.CHECKPOINT, session)
            return
        async for record in iter_records(self._store, RecordKind.CHECKPOINT, session):
            kept = record.data | self._written.taken_out(session, record.data)
            data: dict[str, Any] = renamed_json(kept, self._subject.pseudonyms)
            if data != record.data:
                await self._store.records.put(record.model_copy(update={"data": data}))

    async def _scrub_figures(self, kind: RecordKind, key: str) -> None:
        if record := await self._store.records.get(kind, key):
            await self._scrub_record(record, {})

    async def _scrub_record(self, record: Record, without: dict[str, Any]) -> None:
        """Put the person's pseudonym in the place of their id, in what tracking keeps."""
        data: dict[str, Any] = renamed_json({**record.data, **without}, self._subject.pseudonyms)
        if data != record.data:
            await self._store.records.put(record.model_copy(update={"data": data}))

    async def _rewrite_files(self, session: SessionId) -> None:
        """Write a session's files anew without the person; the record says which takes the place of the old one."""
        if self._archive is None:
            return
        for entry in await self._archive.entries_of(session):
            head = await self._archive.head(entry)
            if self._person.covers(head.created_at):
                written = Written(self._subject)
                async for commit in self._archive.commits(entry):
                    if self._person.covers(commit.at):
                        written.add(commit)
                        self._from_files += _writes_of(commit)
                head = self._without_person(head, written)
            ref = await self._archive.write(head, self._scrubbed_file(self._archive, entry))
            index = await get_index(self._store, session)
            if index is None or index.archive.digest == entry.digest:
                restored_at = index.restored_at if index else None
                new = archived_session(head, ref).model_copy(update={"restored_at": restored_at})
                await put_index(self._store, new)
            if ref.digest != entry.digest:
                await self._archive.delete_file(entry)
        await self._archive.delete_left_overs(session)

    async def _scrubbed_file(self, archive: ArchiveStore, entry: ArchiveEntry) -> AsyncIterator[Commit]:
        scrubbing = Scrubbing(self._person)
        async for commit in archive.commits(entry):
            yield scrubbing.scrubbed(commit)


class Scrubbing:
    """Takes a person out of commits, one after the other from the first on.

    What an event gives back to a restored session is what was written in that one before: `written` are the commits
    with that which are in the archive, and not in the log any more.
    """

    def __init__(self, person: Person, written: Iterable[Commit] = ()) -> None:
        self._person = person
        self._before = deque(sorted(written, key=lambda commit: commit.version))
        self._written = Written(person.subject)

    def scrubbed(self, commit: Commit) -> Commit:
        """Return the next commit without the person."""
        if not self._person.covers(commit.at):
            return commit
        while self._before and self._before[0].version <= commit.version:
            self._written.add(self._before.popleft())
        left = without_written(scrub(commit, self._person.subject), self._written)
        self._written.add(commit)
        return left


def _writes_of(commit: Commit) -> list[Commit]:
    """Return a commit with those of its events that write data or metadata, without the values; nothing if none do."""
    writes = tuple(
        event.model_copy(update={"values": dict.fromkeys(event.values), "bases": {}})
        for event in commit.events
        if isinstance(event, DataSet | MetadataSet)
    )
    return [commit.model_copy(update={"events": writes})] if writes else []
