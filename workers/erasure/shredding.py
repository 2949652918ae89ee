"""Erasing by key: what was encrypted with a key that was destroyed is gone from every copy, old backups too.

A key is retired first: what is encrypted after that, with the next key, is what is to stay. So nothing that must stay
is encrypted with it any more once it is destroyed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Final

from agentbus.contracts.events import Commit
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.records import RecordKind
from agentbus.storage.encryption import (
    ENCRYPTED_RECORDS,
    SURELY_NOTICED,
    EncryptedStore,
    of_archived,
    of_conversation,
    of_identity,
    of_parked,
    of_user,
    says_something_of_its_conversation,
    subject_of,
)
from agentbus.storage.port import Store
from agentbus.workers.archive.rewriting import PAGE, pages_of, rewriting
from agentbus.workers.erasure.plan import Plan
from agentbus.workers.erasure.search import Progress, all_sessions

Wait = Callable[[float], Awaitable[None]]
"""Waits so many seconds."""

_WAITING: Final = "seconds to wait until nobody encrypts with the user's keys"


class Shredding:
    """The keys of whom, and of what, is erased. Does nothing in a store that does not encrypt."""

    def __init__(self, store: Store, progress: Progress, wait: Wait = asyncio.sleep) -> None:
        self._store = store
        self._encrypted = store if isinstance(store, EncryptedStore) and store.keys else None
        self._keys = self._encrypted.keys if self._encrypted else None
        self._progress = progress
        self._wait = wait
        self._retired: set[str] = set()

    @property
    def apart(self) -> bool:
        """Whether there are keys, in a store of their own, which backups of the sessions' store don't hold."""
        return self._encrypted is not None and self._encrypted.apart

    async def retire(self, plan: Plan) -> bool:
        """Retire the keys of a plan, and wait until nobody uses them; return whether it had to be waited for that."""
        if self._keys is None:
            return False
        new = _subjects(plan) - self._retired
        waiting = await self._keys.retire(sorted(new))
        if waiting:
            self._progress(_WAITING, round(SURELY_NOTICED))
            await self._wait(SURELY_NOTICED)
        self._retired |= new
        return waiting

    async def renew(self, conversations: Collection[ConversationId]) -> None:
        """Encrypt what stays of conversations with their next keys: their own were retired, and are destroyed then."""
        if self._encrypted is None or not conversations:
            return
        for conversation in conversations:
            async with rewriting(self._store, conversation) as log:
                async for page in pages_of(self._store, conversation):
                    if with_its_key := [commit for commit in page if _needs_its_key(commit)]:
                        await log.put(with_its_key)
                await self._store.heads.save(await all_sessions(self._store, conversation))
        subjects = set(map(of_conversation, conversations))
        for kind in ENCRYPTED_RECORDS:
            await self._renew_records(self._encrypted, kind, subjects)

    async def _renew_records(self, store: EncryptedStore, kind: RecordKind, subjects: Collection[str]) -> None:
        """Encrypt those records of a kind anew that are encrypted with keys of these subjects; reads them all."""
        cursor: str | None = None
        while True:
            page = await store.store.records.scan(kind, limit=PAGE, cursor=cursor)
            for kept in page.items:
                if kept.sealed and subject_of(kept) in subjects and (record := await store.records.get(kind, kept.key)):
                    await store.records.put(record)
            if (cursor := page.cursor) is None:
                return

    async def destroy(self, plan: Plan) -> int:
        """Destroy the retired keys of a plan, once all is erased and renewed; return how many."""
        if self._keys is None:
            return 0
        destroyed = await self._keys.destroy(sorted(_subjects(plan)))
        if self._encrypted and self._encrypted.key_store:
            await self._encrypted.key_store.log.replace(())  # The old bytes of what was replaced go too.
        return destroyed


def _subjects(plan: Plan) -> set[str]:
    return {
        *map(of_user, plan.people),
        *map(of_identity, plan.identities),
        *map(of_conversation, plan.own | plan.shared),
        *map(of_archived, plan.archived),
        *map(of_parked, plan.parked_ids),
    }


def _needs_its_key(commit: Commit) -> bool:
    return any(map(says_something_of_its_conversation, commit.events))
