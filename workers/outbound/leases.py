"""Leases of partitions: who holds one sends the replies of its conversations, and nobody else does."""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import Final

from agentbus.contracts.errors import StoreError
from agentbus.contracts.ids import Partition
from agentbus.storage.port import Store
from agentbus.workers.concurrency import afterwards, passing_over, side_by_side

_FRESH: Final = 2 / 3
"""A lease of which more than this part is left is not renewed yet."""
_CLOSING: Final = 5.0
"""Seconds for which giving the leases back is tried; what is not given back ends by itself."""


@dataclass(slots=True)
class Lease:
    """A partition's lease, as this process has it."""

    partition: Partition
    token: int
    ends: float
    """By `monotonic`, before it ends by the store's clock: it counts from before the store was asked for it."""
    used: float
    """When somebody worked under it last."""


class PartitionLeases:
    """Takes a partition's lease when there is something to send in it, and gives it back when nothing was for a while.

    So an installation with nothing to send writes nothing, and the names of the locks are as many as the partitions. A
    process that was stopped finds its leases ended by its own clock before anybody else can have them: what it goes on
    to do then it has to ask `holds` for.
    """

    def __init__(self, store: Store, prefix: str, *, ttl: float, time: Callable[[], float] = monotonic) -> None:
        self._store = store
        self._prefix = prefix
        self._ttl = ttl
        self._time = time
        self._held: dict[Partition, Lease] = {}
        self._asking: dict[Partition, asyncio.Lock] = {}
        self._others: dict[Partition, float] = {}
        """Until when not to ask again for what somebody else has."""

    async def hold(self, partition: Partition) -> bool:
        """Return whether this process holds a partition's lease, taking it if it is free."""
        async with self._asking.setdefault(partition, asyncio.Lock()):
            if self.holds(partition):
                return True
            asked = self._time()
            if self.is_others(partition):
                return False
            self._held.pop(partition, None)
            lock = await self._store.locks.acquire(self._name(partition), ttl=self._ttl)
            if lock is None:
                self._others[partition] = asked + self._ttl / 8
                return False
            self._held[partition] = Lease(partition, lock.token, asked + self._ttl, asked)
            return self.holds(partition)

    def holds(self, partition: Partition) -> bool:
        """Whether this process holds a partition's lease at this moment; nobody else can have it then."""
        lease, now = self._held.get(partition), self._time()
        if lease is None or now >= lease.ends:
            return False
        lease.used = now
        return True

    def is_others(self, partition: Partition) -> bool:
        """Whether somebody else had a partition's lease when it was asked for a moment ago."""
        return self._time() < self._others.get(partition, -inf)

    async def keep(self, wanted: Collection[Partition]) -> None:
        """Renew the leases that are in use and `wanted`, and give back the others. To be called every second or so."""
        await side_by_side([self._keep(lease, lease.partition in wanted) for lease in list(self._held.values())])

    async def give_back(self, partition: Partition) -> None:
        """Let others have a partition at once: nothing more is sent in it."""
        if lease := self._held.pop(partition, None):
            await self._store.locks.release(self._name(partition), lease.token)

    async def close(self) -> None:
        """Give all leases back. Idempotent."""
        held = list(self._held)
        if held:
            call = side_by_side([self.give_back(partition) for partition in held])
            await afterwards("give back the leases of partitions", call, within=_CLOSING)

    async def _keep(self, lease: Lease, wanted: bool) -> None:
        asked = self._time()
        if not wanted or asked - lease.used > self._ttl:
            with passing_over(StoreError):  # then it ends by itself
                await self.give_back(lease.partition)
            return
        if lease.ends - asked > self._ttl * _FRESH:
            return
        with passing_over(StoreError):  # it is tried again before the lease ends, or it ends
            renewed = await self._store.locks.renew(self._name(lease.partition), lease.token, ttl=self._ttl)
            if renewed is not None:
                lease.ends = asked + self._ttl
            elif self._held.get(lease.partition) is lease:
                del self._held[lease.partition]

    def _name(self, partition: Partition) -> str:
        return f"{self._prefix}/outbound/{partition}"
