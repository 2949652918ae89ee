"""The locks in Redis: a key for each name ever locked. The clock is that of the server which has the lock."""

from agentbus.contracts.records import Lock
from agentbus.storage.calls import end_well
from agentbus.storage.cancelling import finished
from agentbus.storage.leases import check_name, lease_ms
from agentbus.storage.paging import from_milliseconds
from agentbus.storage.port import Locks
from agentbus.storage.redis.base import RedisSection


@end_well(finished)
class RedisLocks(RedisSection, Locks):
    """The section of the locks."""

    async def acquire(self, name: str, *, ttl: float) -> Lock | None:
        lease = lease_ms(ttl)
        taken = await self._database.run("acquire", self._keys(check_name(name)), lease)
        return None if taken is None else _lock(name, int(taken[0]), taken[1])

    async def renew(self, name: str, token: int, *, ttl: float) -> Lock | None:
        ends = await self._database.run("renew", self._keys(name), token, lease_ms(ttl))
        return None if ends is None else _lock(name, token, ends)

    async def release(self, name: str, token: int) -> bool:
        return bool(await self._database.run("release", self._keys(name), token))

    def _keys(self, name: str) -> list[str]:
        return self._database.layout.keys(self._database.layout.shard_of(name), "lock", of=name)


def _lock(name: str, token: int, ends: bytes) -> Lock:
    return Lock(name=name, token=token, expires_at=from_milliseconds(int(ends)))
