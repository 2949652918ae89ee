"""The locks in Redis: a key for each name ever locked. The clock is that of the server which has the lock."""

from agentbus.contracts.history import Page
from agentbus.contracts.records import Lock
from agentbus.storage.calls import end_well
from agentbus.storage.cancelling import finished
from agentbus.storage.leases import check_name, lease_ms
from agentbus.storage.paging import all_page, check_limit, from_milliseconds, name_after
from agentbus.storage.port import LastToken, Locks
from agentbus.storage.redis.base import RedisSection, together
from agentbus.storage.redis.layout import LOCKS, name_of


@end_well(finished)
class RedisLocks(RedisSection, Locks):
    """The section of the locks."""

    async def acquire(self, name: str, *, ttl: float) -> Lock | None:
        lease = lease_ms(ttl)
        keys = [*self._keys(check_name(name)), self._database.names_beside(name)]
        taken = await self._database.run("acquire", keys, lease, name_of(LOCKS, name))
        return None if taken is None else _lock(name, int(taken[0]), taken[1])

    async def renew(self, name: str, token: int, *, ttl: float) -> Lock | None:
        ends = await self._database.run("renew", self._keys(name), token, lease_ms(ttl))
        return None if ends is None else _lock(name, token, ends)

    async def release(self, name: str, token: int) -> bool:
        return bool(await self._database.run("release", self._keys(name), token))

    async def tokens(self, *, limit: int, cursor: str | None = None) -> Page[LastToken]:
        check_limit(limit)
        names = await self._database.all_names(LOCKS, after=name_after("tokens", cursor), limit=limit + 1)
        found = [one for one in await together(map(self._last, names)) if one]
        return all_page("tokens", found, limit, lambda last: last.name)

    async def _last(self, name: str) -> LastToken | None:
        token = await self._database.ask("HGET", *self._keys(name), "token")
        return None if token is None else LastToken(name, int(token))

    async def advance(self, name: str, token: int) -> None:
        keys = [*self._keys(check_name(name)), self._database.names_beside(name)]
        await self._database.run("advance", keys, token, name_of(LOCKS, name))

    def _keys(self, name: str) -> list[str]:
        return self._database.layout.keys(self._database.layout.shard_of(name), "lock", of=name)


def _lock(name: str, token: int, ends: bytes) -> Lock:
    return Lock(name=name, token=token, expires_at=from_milliseconds(int(ends)))
