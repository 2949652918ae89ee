"""The parked inputs in SQL."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from agentbus.contracts.history import Page
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.parked import ParkedId, ParkedInput, ParkedStatus
from agentbus.storage.calls import end_well
from agentbus.storage.cancelling import cancelled_once
from agentbus.storage.paging import check_limit, parked_page, position_of
from agentbus.storage.port import LISTED_BODY, ParkedInputs
from agentbus.storage.sql.base import SqlSection, later
from agentbus.storage.sql.codec import parked_row, to_parked
from agentbus.storage.sql.schema import parked as table

_LISTED: Final = (
    *(column for column in table.c if column is not table.c.body),
    func.substr(table.c.body, 1, LISTED_BODY, type_=table.c.body.type).label("body"),
)


@end_well(cancelled_once)
class SqlParked(SqlSection, ParkedInputs):
    """The section of the parked inputs."""

    async def put(self, parked: ParkedInput) -> None:
        await self.put_many([parked])

    async def put_many(self, parked: Sequence[ParkedInput]) -> None:
        try:
            await self._park(parked)
        except IntegrityError:  # Another process parked one of them for the first time: now there is one.
            await self._park(parked)

    async def _park(self, parked: Sequence[ParkedInput]) -> None:
        async with self._database.writing() as connection:
            for one in parked:
                row = parked_row(one) | {"status": ParkedStatus.PARKED.value}
                changed = {name: value for name, value in row.items() if name != "body"}
                again = update(table).where(table.c.parked_id == one.parked_id)
                counted = await connection.execute(again.values(changed | {"attempts": table.c.attempts + 1}))
                if not counted.rowcount:
                    await connection.execute(insert(table), [row])

    async def get(self, parked_id: ParkedId) -> ParkedInput | None:
        async with self._database.reading() as connection:
            found = await connection.execute(select(table).where(table.c.parked_id == parked_id))
            row = found.first()
        return None if row is None else to_parked(row)

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

    async def set_status(self, parked_id: ParkedId, status: ParkedStatus) -> bool:
        change = update(table).where(table.c.parked_id == parked_id).values(status=status.value)
        async with self._database.writing() as connection:
            return bool((await connection.execute(change)).rowcount)

    async def delete(self, parked_id: ParkedId) -> bool:
        async with self._database.writing() as connection:
            deleted = await connection.execute(delete(table).where(table.c.parked_id == parked_id))
        await self._database.wipe()
        return bool(deleted.rowcount)
