"""The locks in SQL: a row for each name ever locked; `expires_at` is NULL while nobody holds it."""

from datetime import UTC, datetime

from sqlalchemy import ColumnElement, and_, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from agentbus.contracts.records import Lock
from agentbus.storage.calls import end_well
from agentbus.storage.cancelling import cancelled_once
from agentbus.storage.leases import check_name, lease_ms
from agentbus.storage.paging import from_milliseconds, to_milliseconds
from agentbus.storage.port import Locks
from agentbus.storage.sql.base import SqlSection
from agentbus.storage.sql.schema import locks as table


@end_well(cancelled_once)
class SqlLocks(SqlSection, Locks):
    """The section of the locks. The clock is this machine's, as the database is a file on it."""

    async def acquire(self, name: str, *, ttl: float) -> Lock | None:
        lease = lease_ms(ttl)
        try:
            return await self._acquire(check_name(name), lease)
        except IntegrityError:  # Another process was the first to lock this name.
            return None

    async def _acquire(self, name: str, lease: int) -> Lock | None:
        async with self._database.writing() as connection:
            now = _now()
            same = table.c.name == name
            free = and_(same, or_(table.c.expires_at.is_(None), table.c.expires_at <= now))
            taken = await connection.execute(
                update(table).where(free).values(token=table.c.token + 1, expires_at=now + lease)
            )
            token = await connection.scalar(select(table.c.token).where(same))
            if token is None:
                token = 1
                await connection.execute(insert(table), [{"name": name, "token": token, "expires_at": now + lease}])
            elif not taken.rowcount:
                return None
        return Lock(name=name, token=token, expires_at=from_milliseconds(now + lease))

    async def renew(self, name: str, token: int, *, ttl: float) -> Lock | None:
        lease = lease_ms(ttl)
        async with self._database.writing() as connection:
            expires_at = _now() + lease
            renewed = await connection.execute(update(table).where(_held(name, token)).values(expires_at=expires_at))
        return Lock(name=name, token=token, expires_at=from_milliseconds(expires_at)) if renewed.rowcount else None

    async def release(self, name: str, token: int) -> bool:
        async with self._database.writing() as connection:
            released = await connection.execute(update(table).where(_held(name, token)).values(expires_at=None))
        return bool(released.rowcount)


def _now() -> int:
    return to_milliseconds(datetime.now(UTC))


def _held(name: str, token: int) -> ColumnElement[bool]:
    """Return whether the lock is this token's: also if its lease ended, as long as nobody took it since."""
    return and_(table.c.name == name, table.c.token == token, table.c.expires_at.is_not(None))
