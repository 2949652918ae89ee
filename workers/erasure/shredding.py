"""Erasing by key: what was encrypted with a key that was destroyed is gone from every copy, old backups too.

A key is retired first: what is encrypted after that, with the next key, is what is to stay. So nothing that must stay
is encrypted with it any more once it is destroyed.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from agentbus.contracts.events import Commit
from agentbus.contracts.ids import ConversationId, SessionId
from agentbus.contracts.records import RecordKind
from agentbus.storage.encryption import (
    SURELY_NOTICED,
    EncryptedStore,
    of_archived,
    of_conversation,
    of_identity,
    of_parked,
    of_user,
    says_something_of_its_conversation,
)
from agentbus.storage.port import Store
from agentbus.storage.reading import iter_records
from agentbus.workers.archive.rewriting import pages_of, rewriting
from agentbus.workers.erasure.plan import Plan
from agentbus.workers.erasure.search import Progress, all_sessions

Wait = Callable[[float], Awaitable[None]]
"""Waits so many seconds."""

_WAITING: Final = "seconds to wait until nobody encrypts with the user's keys"


class Shredding:
    """The keys of whom, and of what, is erased. Does nothing in a store that does not encrypt."""

    def __init__(self, store: Store, progress: Progress, wait: Wait = asyncio.sleep) -> None:
        self._store = store
        self._keys = store.keys if isinstance(store, EncryptedStore) else None
        self._progress = progress
        self._wait = wait
        self._retired: set[str] = set()

    @property
    def apart(self) -> bool:
        """Whether there are keys, in a store of their own, which backups of the sessions' store don't hold."""
        return self._keys is not None and isinstance(self._store, EncryptedStore) and self._store.apart

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

    async def renew(self, conversation: ConversationId) -> None:
        """Encrypt what stays of a conversation with its next key: its own was retired, and is destroyed in the end."""
        if self._keys is None:
            return
        async with rewriting(self._store, conversation) as log:
            async for page in pages_of(self._store, conversation):
                if with_its_key := [commit for commit in page if _needs_its_key(commit)]:
                    await log.put(with_its_key)
            for head in await all_sessions(self._store, conversation):
                await self._store.heads.save([head])
                await self._renew_checkpoints(head.session_id)

    async def _renew_checkpoints(self, session: SessionId) -> None:
        async for record in iter_records(self._store, RecordKind.CHECKPOINT, session):
            await self._store.records.put(record)

    async def destroy(self, plan: Plan) -> int:
        """Destroy the retired keys of a plan, once all is erased and renewed; return how many."""
        if self._keys is None:
            return 0
        destroyed = await self._keys.destroy(sorted(_subjects(plan)))
        if isinstance(self._store, EncryptedStore) and self._store.key_store:
            await self._store.key_store.log.replace(())  # The old bytes of what was replaced go too.
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
