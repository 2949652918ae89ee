"""Rewriting a conversation's log and head from outside its owner, so that neither undoes the other.

What was committed is changed in place by one at a time: a lock sees to that. A head is in its owner's memory too: a
commit of nothing makes the owner read it again before it writes the next one.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from agentbus.contracts.clock import Clock
from agentbus.contracts.errors import EditConflict, LockTimeout, StoreUnavailable, VersionConflict
from agentbus.contracts.events import Commit
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.records import Lock
from agentbus.contracts.session import SessionState
from agentbus.storage.port import Store
from agentbus.workers.concurrency import afterwards
from agentbus.workers.domain.evolve import heads_after, heads_along

PAGE: Final = 100
"""Commits that are read and replaced at once."""

_LEASE: Final = 20.0
"""Seconds for which the lock is held beyond its last use: a page of commits takes less, and who died is waited out."""
_PATIENCE: Final = 30.0
"""Seconds to wait for somebody else who rewrites the same log."""
_PAUSE: Final = 0.05
_TRIES: Final = 100


class Rewriting:
    """A conversation's log, while nobody else rewrites it."""

    def __init__(self, store: Store, conversation: ConversationId, lock: Lock) -> None:
        self._store = store
        self._conversation = conversation
        self._lock = lock

    async def hold(self) -> None:
        """Prolong the lock. Raises LockTimeout if it passed to somebody else, who goes on from where this stopped."""
        if await self._store.locks.renew(self._lock.name, self._lock.token, ttl=_LEASE) is None:
            raise LockTimeout(f"rewriting {self._conversation} took so long that somebody else began: try again")

    async def change(self, change: Callable[[Commit], Commit], *, first: int = 1, last: int | None = None) -> int:
        """Replace the commits that `change` makes others of; return how many. Idempotent if `change` is."""
        changed = 0
        async for page in pages_of(self._store, self._conversation, first=first, last=last):
            new = [after for before in page if (after := change(before)) != before]
            if new:
                await self.hold()
                await self._store.log.replace(new)
                changed += len(new)
        return changed

    async def put(self, commits: Sequence[Commit]) -> None:
        """Replace these commits."""
        await self.hold()
        await self._store.log.replace(commits)


@asynccontextmanager
async def rewriting(store: Store, conversation: ConversationId) -> AsyncIterator[Rewriting]:
    """Have a conversation's log for oneself, among those who rewrite; its owner goes on committing.

    Raises LockTimeout if somebody else has it for longer than 30 seconds.
    """
    name = f"rewrite/{conversation}"
    deadline = time.monotonic() + _PATIENCE
    while (lock := await store.locks.acquire(name, ttl=_LEASE)) is None:
        if time.monotonic() > deadline:
            raise LockTimeout(f"somebody else has been rewriting {conversation} for {_PATIENCE:g} s: try again later")
        await asyncio.sleep(_PAUSE)
    try:
        yield Rewriting(store, conversation, lock)
    finally:
        await afterwards("let go of a log", store.locks.release(name, lock.token))


async def pages_of(
    store: Store, conversation: ConversationId, *, first: int = 1, last: int | None = None
) -> AsyncIterator[list[Commit]]:
    """Yield a log's commits page by page, oldest first."""
    first = max(1, first)
    while (last is None or first <= last) and (
        page := await store.log.read(conversation, first=first, last=last, limit=PAGE)
    ):
        yield page
        first = page[-1].version + 1


async def rewrite_head(
    store: Store, conversation: ConversationId, change: Callable[[SessionState], SessionState], clock: Clock
) -> None:
    """Change the head of a conversation's latest session, in the store and in its owner's memory. Idempotent.

    The changed head is written under its own version, and a commit of nothing after it: the owner's next commit meets
    that one, and it reads the head anew. If the owner was faster, all begins again. Raises EditConflict if it
    always is.
    """
    for _ in range(_TRIES):
        loaded = (await store.log.load([conversation]))[conversation]
        if loaded.commits:
            await store.heads.save(list(heads_along(loaded.head or SessionState.empty(conversation), loaded.commits)))
            continue
        head = loaded.head
        if head is None or (changed := change(head)) == head:
            return
        await store.heads.save([changed])
        nothing = Commit(
            conversation_id=conversation,
            version=head.version + 1,
            epoch=head.epoch,
            at=clock.now(),
            inputs=(),
            events=(),
        )
        (refusal,) = await store.log.append([nothing])
        if refusal is None:
            await store.heads.save(heads_after(changed, nothing))
        elif not isinstance(refusal, VersionConflict | StoreUnavailable):
            raise refusal
    raise EditConflict(f"conversation {conversation} never stood still: try again when less is written")
