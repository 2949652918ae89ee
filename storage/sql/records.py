"""The records in SQL."""

from collections.abc import Collection, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Final

from sqlalchemy import ColumnElement, Connection, and_, bindparam, delete, insert, select
from sqlalchemy.exc import IntegrityError

from agentbus.contracts.history import Page
from agentbus.contracts.records import Record, RecordKind
from agentbus.storage.chunks import chunks, newest_by_kind
from agentbus.storage.paging import check_limit, name_after, position_of, records_page, scanned, to_milliseconds
from agentbus.storage.port import Records
from agentbus.storage.sql.again import made_again
from agentbus.storage.sql.base import CHUNK, SqlSection, later
from agentbus.storage.sql.codec import RECORD, Row, record_row, to_record
from agentbus.storage.sql.dialects.port import all_given
from agentbus.storage.sql.schema import records as table

_UNLESS_NEWER: Final = and_(
    table.c.kind == bindparam("of_kind"), table.c.key == bindparam("of_key"), table.c.revision <= bindparam("newest")
)


@made_again
class SqlRecords(SqlSection, Records):
    """The section of the records."""

    async def put(self, record: Record, *, replace: bool = True) -> bool:
        row = self._row(record)
        put = self._database.dialect.upsert(table, all_given(table)) if replace else insert(table)
        try:
            await self._database.write(lambda connection: connection.execute(put, [row]))
        except IntegrityError:
            if replace:
                raise
            return False
        return True

    async def get(self, kind: RecordKind, key: str) -> Record | None:
        rows = await self._database.rows(select(*RECORD).where(_is(kind, key)))
        return to_record(rows[0]) if rows else None

    async def page(self, kind: RecordKind, group: str, *, limit: int = 50, cursor: str | None = None) -> Page[Record]:
        check_limit(limit)
        query = select(*RECORD).where(_of_group(kind, group))
        if after := position_of("records", cursor):
            query = query.where(later(table.c.created_at, table.c.key, after))
        query = query.order_by(table.c.created_at.desc(), table.c.key)
        return records_page(await self._database.first(query, to_record, limit + 1), limit)

    async def scan(self, kind: RecordKind, *, limit: int, cursor: str | None = None) -> Page[Record]:
        query = select(*RECORD).where(table.c.kind == kind.value, table.c.key > name_after("kind", cursor))
        rows = await self._database.rows(query.order_by(table.c.key).limit(check_limit(limit) + 1))
        return scanned("kind", rows, limit, lambda row: str(row.key), to_record)

    async def delete(self, kind: RecordKind, key: str) -> bool:
        return bool(await self._delete(_is(kind, key)))

    async def delete_group(self, kind: RecordKind, group: str) -> int:
        return await self._delete(_of_group(kind, group))

    async def _delete(self, chosen: ColumnElement[bool]) -> int:
        return await self._database.write(lambda connection: connection.execute(delete(table).where(chosen)).rowcount)

    async def put_many(self, records: Sequence[Record]) -> None:
        rows = [self._row(record) for of_kind in newest_by_kind(records).values() for record in of_kind]
        upsert = self._database.dialect.upsert(table, all_given(table), newer="revision")
        rows.sort(key=itemgetter("kind", "key"))  # In one order in all processes: so none waits for another that waits.

        def put(connection: Connection) -> None:
            for chunk in chunks(rows, CHUNK):
                connection.execute(upsert, chunk)

        await self._database.write(put)

    async def due(
        self, kind: RecordKind, before: datetime, *, groups: Collection[str] | None = None, limit: int
    ) -> list[Record]:
        query = select(*RECORD).where(table.c.kind == kind.value, table.c.due_at <= to_milliseconds(before))
        if groups is not None:
            query = query.where(table.c.group.in_(list(groups)))
        return await self._database.first(query.order_by(table.c.due_at, table.c.key), to_record, check_limit(limit))

    async def drop(self, records: Sequence[Record]) -> None:
        if records:
            rows = sorted(map(_bound, records), key=itemgetter("of_kind", "of_key"))  # in one order, as above
            await self._database.write(lambda connection: connection.execute(delete(table).where(_UNLESS_NEWER), rows))

    def _row(self, record: Record) -> Row:
        """Return the row of a record. Raises StoreRejected if it is too large for the database."""
        row = record_row(record)
        if refused := self._database.too_large(row["body"]):
            raise refused
        return row


def _bound(record: Record) -> Row:
    """Return the parameters of `_UNLESS_NEWER`."""
    return {"of_kind": record.kind.value, "of_key": record.key, "newest": record.revision}


def _is(kind: RecordKind, key: str) -> ColumnElement[bool]:
    return and_(table.c.kind == kind.value, table.c.key == key)


def _of_group(kind: RecordKind, group: str) -> ColumnElement[bool]:
    return and_(table.c.kind == kind.value, table.c.group == group)
