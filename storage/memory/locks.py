"""The locks in memory."""

from collections import defaultdict
from datetime import timedelta

from agentbus.contracts.clock import Clock
from agentbus.contracts.history import Page
from agentbus.contracts.records import Lock
from agentbus.storage.leases import check_name, lease_ms
from agentbus.storage.paging import all_page, check_limit, name_after
from agentbus.storage.port import LastToken, Locks


class MemoryLocks(Locks):
    """The section of the locks. A lock that was released is gone, its last token stays."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._locks: dict[str, Lock] = {}
        self._tokens: dict[str, int] = defaultdict(int)

    async def acquire(self, name: str, *, ttl: float) -> Lock | None:
        lease = lease_ms(ttl)
        held = self._locks.get(check_name(name))
        if held is not None and held.expires_at > self._clock.now():
            return None
        self._tokens[name] += 1
        return self._lease(name, self._tokens[name], lease)

    async def renew(self, name: str, token: int, *, ttl: float) -> Lock | None:
        lease = lease_ms(ttl)
        return self._lease(name, token, lease) if self._is_held(name, token) else None

    async def release(self, name: str, token: int) -> bool:
        held = self._is_held(name, token)
        if held:
            del self._locks[name]
        return held

    async def tokens(self, *, limit: int, cursor: str | None = None) -> Page[LastToken]:
        check_limit(limit)
        after = name_after("tokens", cursor)
        found = [LastToken(name, token) for name, token in sorted(self._tokens.items()) if name > after]
        return all_page("tokens", found[: limit + 1], limit, lambda last: last.name)

    async def advance(self, name: str, token: int) -> None:
        if self._tokens[check_name(name)] < token:
            self._tokens[name] = token
            self._locks.pop(name, None)

    def _is_held(self, name: str, token: int) -> bool:
        """Return whether the lock is this token's: also if its lease ended, as long as nobody took it since."""
        held = self._locks.get(name)
        return held is not None and held.token == token

    def _lease(self, name: str, token: int, lease: int) -> Lock:
        expires_at = self._clock.now() + timedelta(milliseconds=lease)
        self._locks[name] = Lock(name=name, token=token, expires_at=expires_at)
        return self._locks[name]
