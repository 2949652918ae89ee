"""Locks: one holder at a time, across processes, for as long as the holder lives."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from agentbus.sessions.manager.base import ManagerBase, lock_name
from agentbus.sessions.manager.tokens import LockTokens
from contracts.errors import LockLost, LockTimeout, StoreError, StoreUnavailable
from storage.cancelling import finished
from workers.concurrency import passing_over
from workers.domain.access import Right

LEASE_SECONDS: Final = 30.0
"""How long a lock is held without being renewed."""

WAIT_SECONDS: Final = 10.0
"""How long to wait for a lock that somebody else holds."""

_POLL: Final = (0.005, 0.25)
"""The shortest and longest pause between two tries, in seconds."""


class Locks(ManagerBase):
    """The section of locks. A lock is a lease by the store's clock with a fencing token that only grows.

    Whoever was stopped for longer than the lease may believe to hold a lock that somebody else has by now. Every call
    that changes a session takes the token (`update_session(..., fence=token)`), and is refused with LockLost once a
    later one was seen: that is what keeps the session right (Kleppmann, "How to do distributed locking"). A token that
    was never given out is refused likewise. A lock keeps nobody off who names no token, and messages of a channel
    come in all the same; which calls take none is in the documentation, call by call.
    """

    async def acquire_lock(
        self,
        session_id: str,
        *,
        timeout: float = WAIT_SECONDS,
        lease: float = LEASE_SECONDS,
        user_id: str | None = None,
    ) -> int:
        """Acquire the session's lock and return its token; wait up to `timeout` seconds for whoever holds it.

        It ends by itself after `lease` seconds unless it is renewed. Raises LockTimeout, SessionNotFound; AccessDenied
        if `user_id` may not change the session.
        """
        tokens = await self._tokens_for(session_id, user_id)
        name = lock_name(session_id)
        return tokens.given(name, await self._acquire(name, timeout=timeout, lease=lease))

    async def renew_lock(
        self, session_id: str, token: int, *, lease: float = LEASE_SECONDS, user_id: str | None = None
    ) -> bool:
        """Hold the lock for another `lease` seconds from now; return False if it was lost.

        Raises AccessDenied if `user_id` is given and may not change the session.
        """
        number = await self._number_of(session_id, token, user_id)
        return (
            number is not None and await self._store.locks.renew(lock_name(session_id), number, ttl=lease) is not None
        )

    async def release_lock(self, session_id: str, token: int, *, user_id: str | None = None) -> bool:
        """Let go of the lock; return False if it was lost before. Raises AccessDenied as `renew_lock` does."""
        number = await self._number_of(session_id, token, user_id)
        return number is not None and await self._store.locks.release(lock_name(session_id), number)

    @asynccontextmanager
    async def lock(
        self,
        session_id: str,
        *,
        timeout: float = WAIT_SECONDS,
        lease: float = LEASE_SECONDS,
        user_id: str | None = None,
    ) -> AsyncIterator[int]:
        """Hold the session's lock, renewed in the background, and give its token to the body.

        It waits up to `timeout` seconds, and is held for `lease` seconds beyond the last renewal.

        Raises as `acquire_lock` does, and LockLost after the body if the lock was lost while it ran.
        """
        tokens = await self._tokens_for(session_id, user_id)
        name = lock_name(session_id)
        number = await self._acquire(name, timeout=timeout, lease=lease)
        async with self._held(name, number, lease):
            yield tokens.given(name, number)

    async def _number_of(self, session_id: str, token: int, user_id: str | None) -> int | None:
        """Return what the store knows a token by, None if it was never given out; a session may be gone meanwhile."""
        if user_id is not None:
            await self._engine.existing(session_id, user_id, Right.WRITE)
        return (await self._lock_tokens()).number_of(lock_name(session_id), token)

    async def _tokens_for(self, session_id: str, user_id: str | None) -> LockTokens:
        """Return what makes tokens, for a session that `user_id` may change. Raises SessionNotFound, AccessDenied."""
        await self._engine.existing(session_id, user_id, Right.WRITE)
        return await self._lock_tokens()

    @asynccontextmanager
    async def _locked(self, name: str, *, timeout: float, lease: float) -> AsyncIterator[None]:
        """Hold a lock of our own; many tasks of this process ask the store for it one after the other."""
        deadline = asyncio.get_running_loop().time() + timeout
        async with self._turn(name, deadline, timeout):
            token = await self._poll(name, deadline, timeout, lease)
            async with self._held(name, token, lease):
                yield

    @asynccontextmanager
    async def _held(self, name: str, token: int, lease: float) -> AsyncIterator[None]:
        renewing = asyncio.create_task(self._keep(name, token, lease))
        try:
            yield
        except BaseException:
            with passing_over(StoreError):  # The lease ends by itself; what went wrong in the body matters more.
                await finished(self._let_go(renewing, name, token))
            raise
        if not await finished(self._let_go(renewing, name, token)):
            raise LockLost(f"the lock {name} was lost while it was used: its lease of {lease:g} s ended")

    async def _let_go(self, renewing: asyncio.Task[None], name: str, token: int) -> bool:
        """Release a lock that is renewed; return whether it was still held."""
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)
        return await self._store.locks.release(name, token)

    async def _acquire(self, name: str, *, timeout: float, lease: float) -> int:
        deadline = asyncio.get_running_loop().time() + timeout
        async with self._turn(name, deadline, timeout):
            return await self._poll(name, deadline, timeout, lease)

    @asynccontextmanager
    async def _turn(self, name: str, deadline: float, timeout: float) -> AsyncIterator[None]:
        """Wait for the tasks of this process that came before: one of them at a time asks the store."""
        queue = self._queues.setdefault(name, asyncio.Lock())
        try:
            async with asyncio.timeout_at(deadline):
                await queue.acquire()
        except TimeoutError:
            raise _timed_out(name, timeout) from None
        try:
            yield
        finally:
            queue.release()

    async def _poll(self, name: str, deadline: float, timeout: float, lease: float) -> int:
        loop = asyncio.get_running_loop()
        pause, longest = _POLL
        while True:
            if lock := await self._store.locks.acquire(name, ttl=lease):
                return lock.token
            left = deadline - loop.time()
            if left <= 0:
                raise _timed_out(name, timeout)
            await asyncio.sleep(min(left, pause * random.uniform(0.5, 1)))
            pause = min(longest, pause * 2)

    async def _keep(self, name: str, token: int, lease: float) -> None:
        """Renew a lock until it is lost; a store that does not answer for a moment is asked again."""
        while True:
            await asyncio.sleep(lease / 3)
            with passing_over(StoreUnavailable):
                if await self._store.locks.renew(name, token, ttl=lease) is None:
                    return


def _timed_out(name: str, timeout: float) -> LockTimeout:
    return LockTimeout(f"somebody else held the lock {name} for {timeout:g} s: try again later")
