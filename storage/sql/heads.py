"""The heads in SQL."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import ColumnElement, and_, bindparam, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.history import Page, SessionFilter
from contracts.ids import ConversationId, SessionId
from contracts.session import SessionState
from storage.chunks import chunks
from storage.paging import Position, check_limit, position_of, sessions_page, to_milliseconds
from storage.sql.base import CHUNK, SqlBase
from storage.sql.codec import head_row, to_head
from storage.sql.schema import heads as table

_REPLACE: Final = update(table).where(table.c.session_id == bindparam("key"), table.c.version <= bindparam("newer"))


class SqlHeads(SqlBase):
    """The section of the heads."""

    async def save_heads(self, heads: Sequence[SessionState]) -> None:
        newest: dict[SessionId, SessionState] = {}
        for head in sorted(heads, key=lambda head: head.version):
            newest[head.session_id] = head
        try:
            await self._save(list(newest.values()))
        except IntegrityError:  # Another process wrote the same session for the first time: now there is one.
            await self._save(list(newest.values()))

    async def _save(self, heads: Sequence[SessionState]) -> None:
        async with self._writing() as connection:
            for chunk in chunks(heads, CHUNK):
                await _write(connection, chunk)

    async def head(self, session: SessionId) -> SessionState | None:
        async with self._reading() as connection:
            body = await connection.scalar(select(table.c.body).where(table.c.session_id == session))
        return None if body is None else to_head(body)

    async def list_sessions(
        self, where: SessionFilter, *, limit: int = 50, cursor: str | None = None
    ) -> Page[SessionState]:
        check_limit(limit)
        query = select(table.c.body).order_by(table.c.listed_at.desc(), table.c.session_id).limit(limit + 1)
        for name, wanted in where.model_dump(mode="json", exclude_none=True).items():
            query = query.where(table.c[name] == wanted)
        if after := position_of("sessions", cursor):
            query = query.where(_later(after))
        async with self._reading() as connection:
            found = [to_head(body) for body in await connection.scalars(query)]
        return sessions_page(found, limit)


async def latest_heads(
    connection: AsyncConnection, conversations: Sequence[ConversationId]
) -> dict[ConversationId, SessionState]:
    """Return the head of each conversation's latest session."""
    chosen = table.c.conversation_id.in_(conversations)
    latest = (
        select(table.c.conversation_id, func.max(table.c.generation).label("generation"))
        .where(chosen)
        .group_by(table.c.conversation_id)
        .subquery()
    )
    same = and_(table.c.conversation_id == latest.c.conversation_id, table.c.generation == latest.c.generation)
    bodies = await connection.scalars(select(table.c.body).join_from(table, latest, same))
    return {head.conversation_id: head for head in map(to_head, bodies)}


async def _write(connection: AsyncConnection, heads: Sequence[SessionState]) -> None:
    rows = [head_row(head) for head in heads]
    kept = set(
        await connection.scalars(
            select(table.c.session_id).where(table.c.session_id.in_([row["session_id"] for row in rows]))
        )
    )
    if added := [row for row in rows if row["session_id"] not in kept]:
        await connection.execute(insert(table), added)
    if changed := [row for row in rows if row["session_id"] in kept]:
        await connection.execute(
            _REPLACE, [row | {"key": row["session_id"], "newer": row["version"]} for row in changed]
        )


def _later(after: Position) -> ColumnElement[bool]:
    moment = to_milliseconds(after[0])
    return or_(table.c.listed_at < moment, and_(table.c.listed_at == moment, table.c.session_id > after[1]))
