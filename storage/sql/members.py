"""The workers in SQL: members, epochs and trials."""

from sqlalchemy import ColumnElement, Connection, and_, case, delete, func, insert, or_, select, update

from agentbus.contracts.ids import Partition
from agentbus.contracts.members import Member, WorkerId
from agentbus.storage.leases import forgotten_ms, ttl_ms
from agentbus.storage.port import Epoch, Members
from agentbus.storage.port.members import attempt_at, attempt_of, attempts_between
from agentbus.storage.sql.again import made_again
from agentbus.storage.sql.base import SqlSection
from agentbus.storage.sql.codec import member_body, to_member
from agentbus.storage.sql.schema import epochs, trials
from agentbus.storage.sql.schema import members as table


@made_again
class SqlMembers(SqlSection, Members):
    """The section of the workers. The clock is the database's, as the dialect says."""

    async def heartbeat(self, group: str, member: Member, *, ttl: float) -> list[Member]:
        now = self._database.dialect.now()
        given = {"seen_at": now, "body": member_body(member)}
        upsert = self._database.dialect.upsert(table, lambda _: given)
        # Its own heartbeat may have grown older than a very short ttl by now.
        own = table.c.worker_id == member.worker_id
        forgotten = and_(table.c.group == group, table.c.seen_at < now - forgotten_ms(ttl), ~own)
        alive = or_(table.c.seen_at >= now - ttl_ms(ttl), own)

        def beat(connection: Connection) -> list[Member]:
            connection.execute(upsert.values({"group": group, "worker_id": member.worker_id} | given))
            connection.execute(delete(table).where(forgotten))
            return _found(connection, table.c.group == group, alive)

        return await self._database.write(beat)

    async def live(self, group: str, *, ttl: float) -> list[Member]:
        alive = table.c.seen_at >= self._database.dialect.now() - ttl_ms(ttl)
        return await self._database.read(lambda connection: _found(connection, table.c.group == group, alive))

    async def everyone(self, *, ttl: float) -> list[Member]:
        alive = table.c.seen_at >= self._database.dialect.now() - ttl_ms(ttl)
        return await self._database.read(lambda connection: _found(connection, alive))

    async def leave(self, group: str, worker: WorkerId) -> None:
        gone = delete(table).where(table.c.group == group, table.c.worker_id == worker)
        await self._database.write(lambda connection: connection.execute(gone))

    async def take_epoch(self, group: str, partition: Partition, *, above: int = 0) -> int:
        following = case((epochs.c.epoch < above, above), else_=epochs.c.epoch) + 1
        same = and_(epochs.c.group == group, epochs.c.partition == partition)

        def take(connection: Connection) -> int:
            counted = connection.execute(update(epochs).where(same).values(epoch=following))
            if not counted.rowcount:
                connection.execute(insert(epochs), [{"group": group, "partition": partition, "epoch": above + 1}])
            return int(connection.execute(select(epochs.c.epoch).where(same)).scalar_one())

        return await self._database.write(take)

    async def epochs(self) -> list[Epoch]:
        query = select(epochs.c.group, epochs.c.partition, epochs.c.epoch).order_by(*epochs.primary_key)
        return [Epoch(*row) for row in await self._database.rows(query)]

    async def begin_trial(self, key: str) -> int:
        tried, attempt = attempt_of(key)
        once = self._database.dialect.upsert(trials, lambda _: {"count": trials.c["count"]})

        def begin(connection: Connection) -> int:
            # First the row of the input itself, which counts nothing: those who begin at the same time wait here.
            connection.execute(once, [{"key": tried, "count": 0}])
            connection.execute(once, [{"key": attempt_at(tried, attempt), "count": 1}])
            counted = connection.execute(select(func.sum(trials.c["count"])).where(_attempts(tried)))
            return int(counted.scalar_one())

        return await self._database.write(begin)

    async def end_trial(self, key: str) -> None:
        await self._database.write(lambda connection: connection.execute(delete(trials).where(_attempts(key))))


def _attempts(key: str) -> ColumnElement[bool]:
    """Return which rows are attempts of `key`; one without an attempt's name is a count of an earlier release."""
    first, last = attempts_between(key)
    return or_(trials.c.key == key, and_(trials.c.key > first, trials.c.key < last))


def _found(connection: Connection, *wanted: ColumnElement[bool]) -> list[Member]:
    query = select(table.c.worker_id, table.c.seen_at, table.c.body).where(*wanted).order_by(table.c.worker_id)
    return [to_member(row) for row in connection.execute(query).mappings()]
