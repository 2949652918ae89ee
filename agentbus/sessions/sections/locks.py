"""Locks: one holder at a time, across processes, for as long as the holder lives."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from weakref import WeakValueDictionary

from agentbus.contracts.errors import LockLost, LockTimeout, StoreError, StoreUnavailable
from agentbus.sessions.engine import Engine
from agentbus.sessions.sections.tokens import Fences, LockTokens, lock_name
from agentbus.storage.cancelling import finished
from agentbus.workers.concurrency import passing_over
from agentbus.workers.domain.access import Right

LEASE_SECONDS: Final = 30.0
"""How long a lock is held without being renewed."""

WAIT_SECONDS: Final = 10.0
"""How long to wait for a lock that somebody else holds."""

_POLL: Final = (0.005, 0.25)
"""The shortest and longest pause between two tries, in seconds."""


class Leases:
    """Locks by their names. Each is a lease by the store's clock with a number that only grows.

    Many tasks of this process ask the store for one of them one after the other.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._queues = WeakValueDictionary[str, asyncio.Lock]()

    @asynccontextmanager
    async def locked(self, name: str, *, timeout: float, lease: float) -> AsyncIterator[None]:
        """Hold a lock of our own as `held` does; wait up to `timeout` seconds for it. Raises LockTimeout, LockLost."""
        deadline = asyncio.get_running_loop().time() + timeout
        async with self._turn(name, deadline, timeout):
            token = await self._poll(name, deadline, timeout, lease)
            async with self.held(name, token, lease):
                yield

    @asynccontextmanager
    async def held(self, name: str, token: int, lease: float) -> AsyncIterator[None]:
        """Keep a lock that was acquired while the body runs, in seconds of lease. Raises LockLost if it was lost."""
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
        return await self._engine.store.locks.release(name, token)

    async def acquire(self, name: str, *, timeout: float, lease: float) -> int:
        """Acquire a lock for `lease` seconds, waiting up to `timeout`; return its number. Raises LockTimeout."""
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
            if lock := await self._engine.store.locks.acquire(name, ttl=lease):
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
                if await self._engine.store.locks.renew(name, token, ttl=lease) is None:
                    return


class Locks:
    """The sessions' locks. A lock is a lease by the store's clock with a fencing token that only grows.

    Whoever was stopped for longer than the lease may believe to hold a lock that somebody else has by now. Every call
    that changes a session takes the token (`update_session(..., fence=token)`), and is refused with LockLost once a
    later one was seen: that is what keeps the session right (Kleppmann, "How to do distributed locking"). A token that
    was never given out is refused likewise. A lock keeps nobody off who names no token, and messages of a channel
    come in all the same; which calls take none is in the documentation, call by call.
    """

    def __init__(self, engine: Engine, leases: Leases, fences: Fences) -> None:
        self._engine = engine
        self._leases = leases
        self._fences = fences

    async def acquire(self, session_id: str, user_id: str | None, *, timeout: float, lease: float) -> int:
        tokens = await self._tokens_for(session_id, user_id)
        name = lock_name(session_id)
        return tokens.given(name, await self._leases.acquire(name, timeout=timeout, lease=lease))

    async def renew(self, session_id: str, token: int, user_id: str | None, *, lease: float) -> bool:
        number = await self._number_of(session_id, token, user_id)
        if number is None:
            return False
        return await self._engine.store.locks.renew(lock_name(session_id), number, ttl=lease) is not None

    async def release(self, session_id: str, token: int, user_id: str | None) -> bool:
        number = await self._number_of(session_id, token, user_id)
        return number is not None and await self._engine.store.locks.release(lock_name(session_id), number)

    @asynccontextmanager
    async def held(self, session_id: str, user_id: str | None, *, timeout: float, lease: float) -> AsyncIterator[int]:
        tokens = await self._tokens_for(session_id, user_id)
        name = lock_name(session_id)
        number = await self._leases.acquire(name, timeout=timeout, lease=lease)
        async with self._leases.held(name, number, lease):
            yield tokens.given(name, number)

    async def _number_of(self, session_id: str, token: int, user_id: str | None) -> int | None:
        """Return what the store knows a token by, None if it was never given out; a session may be gone meanwhile."""
        if user_id is not None:
            await self._engine.existing(session_id, user_id, Right.WRITE)
        return (await self._fences.tokens()).number_of(lock_name(session_id), token)

    async def _tokens_for(self, session_id: str, user_id: str | None) -> LockTokens:
        """Return what makes tokens, for a session that `user_id` may change. Raises SessionNotFound, AccessDenied."""
        await self._engine.existing(session_id, user_id, Right.WRITE)
        return await self._fences.tokens()


def _timed_out(name: str, timeout: float) -> LockTimeout:
    return LockTimeout(f"somebody else held the lock {name} for {timeout:g} s: try again later")
