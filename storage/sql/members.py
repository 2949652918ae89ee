"""The workers in SQL: members, epochs and trials."""

from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Select, and_, case, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from agentbus.contracts.ids import Partition
from agentbus.contracts.members import Member, WorkerId
from agentbus.storage.calls import end_well
from agentbus.storage.cancelling import cancelled_once
from agentbus.storage.leases import forgotten_ms, ttl_ms
from agentbus.storage.paging import to_milliseconds
from agentbus.storage.port import Members
from agentbus.storage.port.members import attempt_at, attempt_of, attempts_between
from agentbus.storage.sql.base import SqlSection
from agentbus.storage.sql.codec import member_row, to_member
from agentbus.storage.sql.schema import epochs, trials
from agentbus.storage.sql.schema import members as table


@end_well(cancelled_once)
class SqlMembers(SqlSection, Members):
    """The section of the workers. The clock is this machine's, as the database is a file on it."""

    async def heartbeat(self, group: str, member: Member, *, ttl: float) -> list[Member]:
        try:
            return await self._heartbeat(group, member, ttl)
        except IntegrityError:  # Another process wrote the same member for the first time: now there is one.
            return await self._heartbeat(group, member, ttl)

    async def _heartbeat(self, group: str, member: Member, ttl: float) -> list[Member]:
        async with self._database.writing() as connection:
            now = _now()
            row = member_row(group, member, now)
            same = and_(table.c.group == group, table.c.worker_id == member.worker_id)
            if not (await connection.execute(update(table).where(same).values(row))).rowcount:
                await connection.execute(insert(table), [row])
            forgotten = and_(table.c.group == group, table.c.seen_at < now - forgotten_ms(ttl))
            await connection.execute(delete(table).where(forgotten))
            found = await connection.execute(_live(group, now - ttl_ms(ttl)))
            return [to_member(row) for row in found.mappings()]

    async def live(self, group: str, *, ttl: float) -> list[Member]:
        async with self._database.reading() as connection:
            found = await connection.execute(_live(group, _now() - ttl_ms(ttl)))
            return [to_member(row) for row in found.mappings()]

    async def leave(self, group: str, worker: WorkerId) -> None:
        gone = delete(table).where(table.c.group == group, table.c.worker_id == worker)
        async with self._database.writing() as connection:
            await connection.execute(gone)

    async def take_epoch(self, group: str, partition: Partition, *, above: int = 0) -> int:
        try:
            return await self._take_epoch(group, partition, above)
        except IntegrityError:  # Another process took the first epoch: now there is one.
            return await self._take_epoch(group, partition, above)

    async def _take_epoch(self, group: str, partition: Partition, above: int) -> int:
        following = case((epochs.c.epoch < above, above), else_=epochs.c.epoch) + 1
        same = and_(epochs.c.group == group, epochs.c.partition == partition)
        async with self._database.writing() as connection:
            counted = await connection.execute(update(epochs).where(same).values(epoch=following))
            if not counted.rowcount:
                await connection.execute(insert(epochs), [{"group": group, "partition": partition, "epoch": above + 1}])
            return int((await connection.execute(select(epochs.c.epoch).where(same))).scalar_one())

    async def begin_trial(self, key: str) -> int:
        tried, attempt = attempt_of(key)
        row = attempt_at(tried, attempt)
        async with self._database.writing() as connection:
            known = await connection.execute(select(trials.c.key).where(trials.c.key == row))
            if known.first() is None:
                await connection.execute(insert(trials), [{"key": row, "count": 1}])
            counted = await connection.execute(select(func.sum(trials.c["count"])).where(_attempts(tried)))
            return int(counted.scalar_one())

    async def end_trial(self, key: str) -> None:
        async with self._database.writing() as connection:
            await connection.execute(delete(trials).where(_attempts(key)))


def _attempts(key: str) -> ColumnElement[bool]:
    """Return which rows are attempts of `key`; one without an attempt's name is a count of an earlier release."""
    first, last = attempts_between(key)
    return or_(trials.c.key == key, and_(trials.c.key > first, trials.c.key < last))


def _now() -> int:
    return to_milliseconds(datetime.now(UTC))


def _live(group: str, since: int) -> Select[tuple[str, int, str]]:
    wanted = and_(table.c.group == group, table.c.seen_at >= since)
    return select(table.c.worker_id, table.c.seen_at, table.c.body).where(wanted).order_by(table.c.worker_id)
