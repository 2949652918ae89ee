"""The records in SQL."""

from sqlalchemy import ColumnElement, and_, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from contracts.history import Page
from contracts.records import Record, RecordKind
from storage.paging import check_limit, position_of, records_page
from storage.sql.base import SqlBase, later
from storage.sql.codec import record_row, to_record
from storage.sql.schema import records as table


class SqlRecords(SqlBase):
    """The section of the records."""

    async def put_record(self, record: Record, *, replace: bool = True) -> bool:
        if replace:
            try:
                await self._replace(record)
            except IntegrityError:  # Another process put the same for the first time: now there is one.
                await self._replace(record)
            return True
        try:
            async with self._writing() as connection:
                await connection.execute(insert(table), [record_row(record)])
        except IntegrityError:
            return False
        return True

    async def _replace(self, record: Record) -> None:
        row = record_row(record)
        async with self._writing() as connection:
            if not (await connection.execute(update(table).where(_is(record.kind, record.key)).values(row))).rowcount:
                await connection.execute(insert(table), [row])

    async def record(self, kind: RecordKind, key: str) -> Record | None:
        async with self._reading() as connection:
            body = await connection.scalar(select(table.c.body).where(_is(kind, key)))
        return None if body is None else to_record(body)

    async def list_records(
        self, kind: RecordKind, group: str, *, limit: int = 50, cursor: str | None = None
    ) -> Page[Record]:
        check_limit(limit)
        query = select(table.c.body).where(_of_group(kind, group))
        if after := position_of("records", cursor):
            query = query.where(later(table.c.created_at, table.c.key, after))
        query = query.order_by(table.c.created_at.desc(), table.c.key).limit(limit + 1)
        async with self._reading() as connection:
            found = [to_record(body) for body in await connection.scalars(query)]
        return records_page(found, limit)

    async def delete_record(self, kind: RecordKind, key: str) -> bool:
        async with self._writing() as connection:
            return bool((await connection.execute(delete(table).where(_is(kind, key)))).rowcount)

    async def delete_records(self, kind: RecordKind, group: str) -> int:
        async with self._writing() as connection:
            return (await connection.execute(delete(table).where(_of_group(kind, group)))).rowcount


def _is(kind: RecordKind, key: str) -> ColumnElement[bool]:
    return and_(table.c.kind == kind.value, table.c.key == key)


def _of_group(kind: RecordKind, group: str) -> ColumnElement[bool]:
    return and_(table.c.kind == kind.value, table.c.group == group)
