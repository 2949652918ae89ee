"""The parked inputs in SQL."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, delete, func, insert, select, update

from agentbus.contracts.history import Page
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.parked import ParkedId, ParkedInput, ParkedStatus
from agentbus.storage.paging import all_page, check_limit, name_after, parked_page, position_of
from agentbus.storage.port import LISTED_BODY, ParkedInputs
from agentbus.storage.sql.again import made_again
from agentbus.storage.sql.base import SqlSection, later
from agentbus.storage.sql.codec import parked_row, to_parked
from agentbus.storage.sql.schema import parked as table
from agentbus.storage.sql.schema import parked_bodies

_LISTED: Final = (
    *(column for column in table.c if column is not table.c.body),
    # Of an empty body SQLite's substr is NULL.
    func.coalesce(func.substr(table.c.body, 1, LISTED_BODY), table.c.body, type_=table.c.body.type).label("body"),
)


@made_again
class SqlParked(SqlSection, ParkedInputs):
    """The section of the parked inputs."""

    async def put(self, parked: ParkedInput) -> None:
        await self.put_many([parked])

    async def put_many(self, parked: Sequence[ParkedInput]) -> None:
        def park(connection: Connection) -> None:
            for one in parked:
                self._park(connection, one)

        await self._database.write(park)

    def _park(self, connection: Connection, one: ParkedInput) -> None:
        row = parked_row(one) | {"status": ParkedStatus.PARKED.value}
        body: bytes = row.pop("body")
        again = update(table).where(table.c.parked_id == one.parked_id)
        counted = connection.execute(again.values(row | {"attempts": table.c.attempts + 1}))
        if not counted.rowcount:
            size = self._database.dialect.PIECE or len(body)
            connection.execute(insert(table), [row | {"body": body[:size]}])
            for number, start in enumerate(range(size, len(body), max(1, size))):
                piece = {"parked_id": one.parked_id, "piece": number, "body": body[start : start + size]}
                connection.execute(insert(parked_bodies), [piece])

    async def get(self, parked_id: ParkedId) -> ParkedInput | None:
        return await self._database.read(lambda connection: self._get(connection, parked_id))

    def _get(self, connection: Connection, parked_id: ParkedId) -> ParkedInput | None:
        row = connection.execute(select(table).where(table.c.parked_id == parked_id)).first()
        if row is None:
            return None
        parked = to_parked(row)
        if len(parked.body) != self._database.dialect.PIECE:
            return parked
        pieces = select(parked_bodies.c.body).where(parked_bodies.c.parked_id == parked_id)
        rest = b"".join(connection.scalars(pieces.order_by(parked_bodies.c.piece)))
        # Deleted in between, there were no pieces any more.
        kept = connection.scalar(select(table.c.parked_id).where(table.c.parked_id == parked_id))
        return parked.model_copy(update={"body": parked.body + rest}) if kept else None

    async def page(
        self,
        status: ParkedStatus | None = None,
        *,
        conversation: ConversationId | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[ParkedInput]:
        check_limit(limit)
        query = select(*_LISTED).order_by(table.c.parked_at.desc(), table.c.parked_id)
        if status is not None:
            query = query.where(table.c.status == status.value)
        if conversation is not None:
            query = query.where(table.c.conversation_id == conversation)
        if after := position_of("parked", cursor):
            query = query.where(later(table.c.parked_at, table.c.parked_id, after))
        return parked_page(await self._database.first(query, to_parked, limit + 1), limit)

    async def ids(self, *, limit: int, cursor: str | None = None) -> Page[ParkedId]:
        query = select(table.c.parked_id).where(table.c.parked_id > name_after("parked ids", cursor))
        found = await self._database.rows(query.order_by(table.c.parked_id).limit(check_limit(limit) + 1))
        return all_page("parked ids", [ParkedId(one) for [one] in found], limit, str)

    async def set_status(self, parked_id: ParkedId, status: ParkedStatus) -> bool:
        change = update(table).where(table.c.parked_id == parked_id).values(status=status.value)
        return bool(await self._database.write(lambda connection: connection.execute(change).rowcount))

    async def delete(self, parked_id: ParkedId) -> bool:
        def do(connection: Connection) -> int:
            # First what everybody takes first: two that do it in another order would wait for each other.
            deleted = connection.execute(delete(table).where(table.c.parked_id == parked_id)).rowcount
            connection.execute(delete(parked_bodies).where(parked_bodies.c.parked_id == parked_id))
            return deleted

        deleted = await self._database.write(do)
        await self._database.wipe()
        return bool(deleted)
