"""The workers in SQL: members, epochs and trials."""

from sqlalchemy import ColumnElement, Select, and_, case, delete, func, insert, or_, select, update

from agentbus.contracts.ids import Partition
from agentbus.contracts.members import Member, WorkerId
from agentbus.storage.calls import end_well
from agentbus.storage.cancelling import cancelled_once
from agentbus.storage.leases import forgotten_ms, ttl_ms
from agentbus.storage.port import Epoch, Members
from agentbus.storage.port.members import attempt_at, attempt_of, attempts_between
from agentbus.storage.sql.again import made_again
from agentbus.storage.sql.base import SqlSection
from agentbus.storage.sql.codec import member_body, to_member
from agentbus.storage.sql.schema import epochs, trials
from agentbus.storage.sql.schema import members as table


@end_well(cancelled_once)
@made_again
class SqlMembers(SqlSection, Members):
    """The section of the workers. The clock is the database's, as the dialect says."""

    async def heartbeat(self, group: str, member: Member, *, ttl: float) -> list[Member]:
        now = self._database.dialect.now()
        given = {"seen_at": now, "body": member_body(member)}
        upsert = self._database.dialect.upsert(table, lambda _: given)
        async with self._database.writing() as connection:
            await connection.execute(upsert.values({"group": group, "worker_id": member.worker_id} | given))
            # Its own heartbeat may have grown older than a very short ttl by now.
            own = table.c.worker_id == member.worker_id
            forgotten = and_(table.c.group == group, table.c.seen_at < now - forgotten_ms(ttl), ~own)
            await connection.execute(delete(table).where(forgotten))
            alive = or_(table.c.seen_at >= now - ttl_ms(ttl), own)
            found = await connection.execute(_members(table.c.group == group, alive))
            return [to_member(row) for row in found.mappings()]

    async def live(self, group: str, *, ttl: float) -> list[Member]:
        alive = table.c.seen_at >= self._database.dialect.now() - ttl_ms(ttl)
        async with self._database.reading() as connection:
            found = await connection.execute(_members(table.c.group == group, alive))
            return [to_member(row) for row in found.mappings()]

    async def everyone(self, *, ttl: float) -> list[Member]:
        query = _members(table.c.seen_at >= self._database.dialect.now() - ttl_ms(ttl))
        async with self._database.reading() as connection:
            return [to_member(row) for row in (await connection.execute(query)).mappings()]

    async def leave(self, group: str, worker: WorkerId) -> None:
        gone = delete(table).where(table.c.group == group, table.c.worker_id == worker)
        async with self._database.writing() as connection:
            await connection.execute(gone)

    async def take_epoch(self, group: str, partition: Partition, *, above: int = 0) -> int:
        following = case((epochs.c.epoch < above, above), else_=epochs.c.epoch) + 1
        same = and_(epochs.c.group == group, epochs.c.partition == partition)
        async with self._database.writing() as connection:
            counted = await connection.execute(update(epochs).where(same).values(epoch=following))
            if not counted.rowcount:
                await connection.execute(insert(epochs), [{"group": group, "partition": partition, "epoch": above + 1}])
            return int((await connection.execute(select(epochs.c.epoch).where(same))).scalar_one())

    async def epochs(self) -> list[Epoch]:
        query = select(epochs.c.group, epochs.c.partition, epochs.c.epoch).order_by(*epochs.primary_key)
        async with self._database.reading() as connection:
            return [Epoch(*row) for row in await connection.execute(query)]

    async def begin_trial(self, key: str) -> int:
        tried, attempt = attempt_of(key)
        once = self._database.dialect.upsert(trials, lambda _: {"count": trials.c["count"]})
        async with self._database.writing() as connection:
            # First the row of the input itself, which counts nothing: those who begin at the same time wait here.
            await connection.execute(once, [{"key": tried, "count": 0}])
            await connection.execute(once, [{"key": attempt_at(tried, attempt), "count": 1}])
            counted = await connection.execute(select(func.sum(trials.c["count"])).where(_attempts(tried)))
            return int(counted.scalar_one())

    async def end_trial(self, key: str) -> None:
        async with self._database.writing() as connection:
            await connection.execute(delete(trials).where(_attempts(key)))


def _attempts(key: str) -> ColumnElement[bool]:
    """Return which rows are attempts of `key`; one without an attempt's name is a count of an earlier release."""
    first, last = attempts_between(key)
    return or_(trials.c.key == key, and_(trials.c.key > first, trials.c.key < last))


def _members(*wanted: ColumnElement[bool]) -> Select[tuple[str, int, str]]:
    return select(table.c.worker_id, table.c.seen_at, table.c.body).where(*wanted).order_by(table.c.worker_id)
