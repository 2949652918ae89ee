"""The locks in files."""

from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from pydantic import Field

from agentbus.contracts.base import Announced, Timestamp
from agentbus.contracts.history import Page
from agentbus.contracts.records import Lock
from agentbus.storage.calls import end_well
from agentbus.storage.cancelling import finished
from agentbus.storage.files.base import FileSection, Folder
from agentbus.storage.files.disk import locked
from agentbus.storage.files.layout import JSON, Names, file_name
from agentbus.storage.files.reading import page_named, pretty, read
from agentbus.storage.leases import check_name, lease_ms
from agentbus.storage.paging import check_limit, name_after
from agentbus.storage.port import LastToken, Locks


class _Lease(Announced):
    """The last lease of a lock. It stays when the lock is released, for its token."""

    name: str
    token: int = Field(default=0, ge=0)
    expires_at: Timestamp | None = Field(default=None, description="None: it was released.")


@end_well(finished)
class FileLocks(FileSection, Locks):
    """The section of the locks. The clock is this machine's."""

    def __init__(self, folder: Folder) -> None:
        super().__init__(folder)
        self._names = Names()

    async def acquire(self, name: str, *, ttl: float) -> Lock | None:
        lease = lease_ms(ttl)
        return await self._folder.call(partial(self._acquire, check_name(name), lease))

    def _acquire(self, name: str, lease: int) -> Lock | None:
        with locked([self._folder.layout.locks]):
            last = read(self._lock(name), _Lease) or _Lease(name=name)
            if last.expires_at is not None and last.expires_at > datetime.now(UTC):
                return None
            return self._lease(name, last.token + 1, lease)

    async def renew(self, name: str, token: int, *, ttl: float) -> Lock | None:
        return await self._folder.call(partial(self._renew, name, token, lease_ms(ttl)))

    def _renew(self, name: str, token: int, lease: int) -> Lock | None:
        with locked([self._folder.layout.locks]):
            return self._lease(name, token, lease) if self._is_held(name, token) else None

    async def release(self, name: str, token: int) -> bool:
        return await self._folder.call(partial(self._release, name, token))

    def _release(self, name: str, token: int) -> bool:
        with locked([self._folder.layout.locks]):
            held = self._is_held(name, token)
            if held:
                self._folder.disk.put(self._lock(name), pretty(_Lease(name=name, token=token)))
            return held

    async def tokens(self, *, limit: int, cursor: str | None = None) -> Page[LastToken]:
        return await self._folder.call(partial(self._tokens, name_after("tokens", cursor), check_limit(limit)))

    def _tokens(self, after: str, limit: int) -> Page[LastToken]:
        folder = self._folder.layout.locks
        names = self._names.after(folder, after, limit + 1)

        def last_token(name: str) -> LastToken | None:
            last = read(folder / (name + JSON), _Lease)
            return LastToken(last.name, last.token) if last else None

        return page_named("tokens", names, limit, last_token)

    async def advance(self, name: str, token: int) -> None:
        await self._folder.call(partial(self._advance, check_name(name), token))

    def _advance(self, name: str, token: int) -> None:
        with locked([self._folder.layout.locks]):
            last = read(self._lock(name), _Lease)
            if last is None or last.token < token:
                self._folder.disk.put(self._lock(name), pretty(_Lease(name=name, token=token)))

    def _is_held(self, name: str, token: int) -> bool:
        """Return whether the lock is this token's: also if its lease ended, as long as nobody took it since."""
        last = read(self._lock(name), _Lease)
        return last is not None and last.token == token and last.expires_at is not None

    def _lease(self, name: str, token: int, lease: int) -> Lock:
        lock = Lock(name=name, token=token, expires_at=datetime.now(UTC) + timedelta(milliseconds=lease))
        self._folder.disk.put(self._lock(name), pretty(lock))
        return lock

    def _lock(self, name: str) -> Path:
        return self._folder.layout.locks / (file_name(name) + JSON)
