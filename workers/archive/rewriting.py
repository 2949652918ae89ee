"""Rewriting a conversation's log and head from outside its owner, so that neither undoes the other.

What was committed is changed in place by one at a time: a lock sees to that. A head is in its owner's memory too: a
commit of nothing makes the owner read it again before it writes the next one.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
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
_FRESH: Final = 0.25
"""The part of a lease that may be over before it is prolonged: what is left is more than any call takes."""
_PATIENCE: Final = 30.0
"""Seconds to wait for somebody else who rewrites the same log."""
_PAUSE: Final = 0.05
_TRIES: Final = 100


class Rewriting:
    """A conversation's log, while nobody else rewrites it."""

    def __init__(self, store: Store, conversation: ConversationId, lock: Lock, *, asked_at: float) -> None:
        self._store = store
        self._conversation = conversation
        self._lock = lock
        self._asked_at = asked_at
        """When the lease was asked for, by `monotonic`: it began later."""

    async def hold(self) -> None:
        """Prolong the lock, unless nearly all of its lease is left.

        Raises LockTimeout if it passed to somebody else, who goes on from where this stopped.
        """
        now = time.monotonic()
        if now - self._asked_at < _LEASE * _FRESH:
            return
        if await self._store.locks.renew(self._lock.name, self._lock.token, ttl=_LEASE) is None:
            raise LockTimeout(f"rewriting {self._conversation} took so long that somebody else began: try again")
        self._asked_at = now

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
    name = _lock_of(conversation)
    asked_at = time.monotonic()
    deadline = asked_at + _PATIENCE
    while (lock := await store.locks.acquire(name, ttl=_LEASE)) is None:
        if time.monotonic() > deadline:
            raise LockTimeout(f"somebody else has been rewriting {conversation} for {_PATIENCE:g} s: try again later")
        await asyncio.sleep(_PAUSE)
        asked_at = time.monotonic()
    try:
        yield Rewriting(store, conversation, lock, asked_at=asked_at)
    finally:
        await afterwards("let go of a log", store.locks.release(name, lock.token))


@asynccontextmanager
async def rewriting_those_free(
    store: Store, conversations: Collection[ConversationId]
) -> AsyncIterator[dict[ConversationId, Rewriting]]:
    """Have the logs of many conversations for oneself, as by `rewriting`: of those that nobody else rewrites now.

    Whoever has many waits for none: they might wait for one another.
    """
    named = {_lock_of(conversation): conversation for conversation in conversations}
    asked_at = time.monotonic()
    locks = await store.locks.acquire_many(named, ttl=_LEASE)
    try:
        yield {named[lock.name]: Rewriting(store, named[lock.name], lock, asked_at=asked_at) for lock in locks}
    finally:
        await afterwards("let go of logs", store.locks.release_many(locks))


def _lock_of(conversation: ConversationId) -> str:
    return f"rewrite/{conversation}"


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
