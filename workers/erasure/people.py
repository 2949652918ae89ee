"""Which erased users are there again: after an old backup of the store or of the archive was restored."""

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime

from agentbus.contracts.clock import Clock
from agentbus.contracts.errors import ArchiveNotFound
from agentbus.contracts.ids import ConversationId
from agentbus.storage.archive import ArchiveStore
from agentbus.storage.port import Store
from agentbus.storage.reading import iter_parked
from agentbus.workers.archive.receipts import Receipts
from agentbus.workers.archive.rewriting import pages_of
from agentbus.workers.concurrency import side_by_side
from agentbus.workers.domain.redaction import people_of, tombstone
from agentbus.workers.erasure.records import texts_in
from agentbus.workers.erasure.search import all_conversations, all_sessions


class _Seen:
    """Collects those who were erased after what names them."""

    def __init__(self, receipts: Receipts) -> None:
        self._receipts = receipts
        self.people: dict[str, datetime] = {}

    def add(self, people: Iterable[str], at: datetime | None) -> None:
        for one in people:
            erased_at = self._receipts.erased_at(one)
            if erased_at and (at is None or at <= erased_at):
                self.people[one] = erased_at


async def erased_people(
    store: Store, archive: ArchiveStore | None, receipts: Receipts, clock: Clock
) -> dict[str, datetime]:
    """Return the ids of erased users that are found again, with the moment of their erasure. Reads everything."""
    seen = _Seen(receipts)
    async for conversations in all_conversations(store, clock):
        await side_by_side(_read(store, conversation, seen) for conversation in conversations)
    if archive:
        await _read_archive(archive, seen)
    async for listed in iter_parked(store):
        parked = await store.parked.get(listed.parked_id) or listed
        seen.add(texts_in(parked.body), parked.parked_at)
    return seen.people


async def _read(store: Store, conversation: ConversationId, seen: _Seen) -> None:
    for head in await all_sessions(store, conversation):
        if head != tombstone(head):
            seen.add(people_of(head), head.created_at)
    async for page in pages_of(store, conversation):
        for commit in page:
            seen.add(people_of(commit), commit.at)


async def _read_archive(archive: ArchiveStore, seen: _Seen) -> None:
    async for entry in archive.entries():
        with suppress(ArchiveNotFound):  # Of a file from an old backup the key was destroyed: it holds nothing.
            head = await archive.head(entry)
            seen.add(people_of(head), head.created_at)
            async for commit in archive.commits(entry):
                seen.add(people_of(commit), commit.at)
