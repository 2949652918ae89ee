"""The locks of the store port."""

from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import NamedTuple

from agentbus.contracts.history import Page
from agentbus.contracts.records import Lock
from agentbus.storage.cancelling import finished


class LastToken(NamedTuple):
    """The last token that was given out for a name."""

    name: str
    token: int


class Locks(ABC):
    """Named locks with a lease by the store's clock, and a token that tells each holder from those before it."""

    @abstractmethod
    async def acquire(self, name: str, *, ttl: float) -> Lock | None:
        """Take a lock for `ttl` seconds by the store's clock; None while somebody holds it and its lease runs.

        The token is higher than all given out for this name before, to anyone, also if they were released. After
        StoreUnavailable the lock may have been taken, until that lease ends; if the call is cancelled, it is not.
        Raises ValueError for a ttl that is not above 0 or a name that is no id.
        """

    async def acquire_many(self, names: Collection[str], *, ttl: float) -> list[Lock]:
        """Take the locks among `names` that are free, as `acquire` does, and return them, in any order.

        If the call fails or is cancelled, none of them is kept, but for what `acquire` says of StoreUnavailable.
        """
        taken: list[Lock] = []
        try:
            for name in names:
                lock = await self.acquire(name, ttl=ttl)
                taken += [lock] if lock else []
        except BaseException:
            await self.release_many(taken)
            raise
        return taken

    @abstractmethod
    async def renew(self, name: str, token: int, *, ttl: float) -> Lock | None:
        """Let the lease of a lock end `ttl` seconds from now instead; None if the lock is no longer this token's.

        A lease that ended is renewed as well, as long as nobody took the lock since. One that was released is not.
        Raises ValueError for a ttl that is not above 0.
        """

    @abstractmethod
    async def release(self, name: str, token: int) -> bool:
        """Give a lock back, even while being cancelled; return if it was still this token's, as in `renew`."""

    async def release_many(self, locks: Collection[Lock]) -> None:
        """Give locks back, as `release` does; those that are somebody else's by now are passed over."""
        await finished(self._release_each(locks))

    async def _release_each(self, locks: Collection[Lock]) -> None:
        for lock in locks:
            await self.release(lock.name, lock.token)

    @abstractmethod
    async def tokens(self, *, limit: int, cursor: str | None = None) -> Page[LastToken]:
        """Return a page of the last tokens of all names that were ever locked, in an order of the store's own.

        Raises ValueError for a limit outside 1..MAX_PAGE or a cursor that this store did not give out.
        """

    @abstractmethod
    async def advance(self, name: str, token: int) -> None:
        """Let the next token for this name be higher than `token`, too; who holds the lock with a lower one loses it.

        Raises ValueError for a name that is no id.
        """
