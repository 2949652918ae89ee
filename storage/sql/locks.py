"""The locks in SQL: a row for each name ever locked; `expires_at` is NULL while nobody holds it."""

from sqlalchemy import ColumnElement, Connection, and_, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from agentbus.contracts.history import Page
from agentbus.contracts.records import Lock
from agentbus.storage.calls import end_well
from agentbus.storage.cancelling import cancelled_once
from agentbus.storage.leases import check_name, lease_ms
from agentbus.storage.paging import all_page, check_limit, from_milliseconds, name_after
from agentbus.storage.port import LastToken, Locks
from agentbus.storage.sql.again import made_again
from agentbus.storage.sql.base import SqlSection
from agentbus.storage.sql.schema import locks as table


@end_well(cancelled_once)
@made_again
class SqlLocks(SqlSection, Locks):
    """The section of the locks. The clock is the database's, as the dialect says."""

    async def acquire(self, name: str, *, ttl: float) -> Lock | None:
        lease = lease_ms(ttl)
        try:
            return await self._acquire(check_name(name), lease)
        except IntegrityError:  # Another process was the first to lock this name.
            return None

    async def _acquire(self, name: str, lease: int) -> Lock | None:
        now = self._database.dialect.now()
        same = table.c.name == name
        free = and_(same, or_(table.c.expires_at.is_(None), table.c.expires_at <= now))

        def acquire(connection: Connection) -> Lock | None:
            taken = connection.execute(
                update(table).where(free).values(token=table.c.token + 1, expires_at=now + lease)
            )
            if not taken.rowcount:
                if connection.scalar(select(table.c.token).where(same)) is not None:
                    return None
                connection.execute(insert(table).values(name=name, token=1, expires_at=now + lease))
            return _read(connection, same)

        return await self._database.write(acquire)

    async def renew(self, name: str, token: int, *, ttl: float) -> Lock | None:
        expires_at = self._database.dialect.now() + lease_ms(ttl)
        held = _held(name, token)

        def renew(connection: Connection) -> Lock | None:
            renewed = connection.execute(update(table).where(held).values(expires_at=expires_at))
            return _read(connection, held) if renewed.rowcount else None

        return await self._database.write(renew)

    async def release(self, name: str, token: int) -> bool:
        given_back = update(table).where(_held(name, token)).values(expires_at=None)
        return bool(await self._database.write(lambda connection: connection.execute(given_back).rowcount))

    async def tokens(self, *, limit: int, cursor: str | None = None) -> Page[LastToken]:
        query = select(table.c.name, table.c.token).where(table.c.name > name_after("tokens", cursor))
        rows = await self._database.rows(query.order_by(table.c.name).limit(check_limit(limit) + 1))
        return all_page("tokens", [LastToken(*row) for row in rows], limit, lambda last: last.name)

    async def advance(self, name: str, token: int) -> None:
        upsert = self._database.dialect.upsert(table, lambda given: {"token": given["token"]}, newer="token")
        given = [{"name": check_name(name), "token": token, "expires_at": None}]
        await self._database.write(lambda connection: connection.execute(upsert, given))


def _read(connection: Connection, same: ColumnElement[bool]) -> Lock:
    """Return the lock that this transaction has just changed."""
    query = select(table.c.name, table.c.token, table.c.expires_at).where(same)
    row = connection.execute(query).one()
    return Lock(name=row.name, token=row.token, expires_at=from_milliseconds(row.expires_at))


def _held(name: str, token: int) -> ColumnElement[bool]:
    """Return whether the lock is this token's: also if its lease ended, as long as nobody took it since."""
    return and_(table.c.name == name, table.c.token == token, table.c.expires_at.is_not(None))
