"""The heads in SQL."""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, func, select
from sqlalchemy import Row as Found

from agentbus.contracts.errors import StoreError
from agentbus.contracts.history import Page, SessionFilter, SessionSummary
from agentbus.contracts.ids import ConversationId, SessionId
from agentbus.contracts.records import SessionStatistics
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.storage.chunks import chunks
from agentbus.storage.damage import readable, unless_damaged
from agentbus.storage.paging import check_limit, name_after, position_of, scanned, sessions_page, to_milliseconds
from agentbus.storage.port import Heads
from agentbus.storage.sql.again import made_again
from agentbus.storage.sql.base import CHUNK, SqlDatabase, SqlSection, later
from agentbus.storage.sql.codec import HEAD, Row, head_row, tag_item, to_head, to_summary
from agentbus.storage.sql.dialects.port import Batch
from agentbus.storage.sql.schema import heads as table
from agentbus.storage.statistics import Tally, to_statistics

Item = TypeVar("Item")


def of_latest_heads(*columns: ColumnElement[Any]) -> Select[Any]:
    """Ask for something of the head of the latest session of each of `conversations`, a parameter."""
    latest = (
        select(table.c.conversation_id, func.max(table.c.generation).label("generation"))
        .where(table.c.conversation_id.in_(bindparam("conversations", expanding=True)))
        .group_by(table.c.conversation_id)
        .subquery()
    )
    same = and_(table.c.conversation_id == latest.c.conversation_id, table.c.generation == latest.c.generation)
    return select(*columns).join_from(table, latest, same)


_LATEST: Final = of_latest_heads(*HEAD)
_ONE: Final = select(*HEAD).where(table.c.session_id == bindparam("session"))
"""What is asked for all the time: making a statement takes longer than most take to be carried out."""

_NOT_DELETED: Final = table.c.status != SessionStatus.DELETED.value


class Saving:
    """Heads that are about to be saved: of each session the newest, unless the database can't keep it."""

    def __init__(self, database: SqlDatabase, heads: Sequence[SessionState]) -> None:
        newest: dict[SessionId, SessionState] = {}
        for head in sorted(heads, key=lambda head: (head.session_id, head.version)):
            newest[head.session_id] = head
        rows = {session: head_row(head) for session, head in newest.items()}
        refused = {session: error for session, row in rows.items() if (error := database.too_large(row["body"]))}
        self.rows: list[Row] = [row for session, row in rows.items() if session not in refused]
        self.kept = [head for session, head in newest.items() if session not in refused]
        self.outcome: list[StoreError | None] = [refused.get(head.session_id) for head in heads]
        """Of each head, in order, why it can't be kept, or None."""
        self._upsert = database.saves_heads

    @property
    def batches(self) -> list[Batch]:
        """What puts them into the database."""
        return [(self._upsert, chunk) for chunk in chunks(self.rows, CHUNK)]

    def forget(self, database: SqlDatabase) -> None:
        """Know them no more: which are in the database now has to be read."""
        database.known.forget([head.session_id for head in self.kept])

    def know(self, database: SqlDatabase) -> None:
        """Know them from now on: they were written with the commits that left them, which nothing comes before."""
        database.known.wrote(self.kept, [len(row["body"]) for row in self.rows], database.opened())


@made_again
class _StoredHeads(SqlSection, Heads):
    """The section of the heads, all of them read from the database."""

    async def save(self, heads: Sequence[SessionState]) -> list[StoreError | None]:
        saving = Saving(self._database, heads)
        if saving.rows:
            try:
                await self._database.put(saving.batches)
            finally:
                saving.forget(self._database)  # One that is older than the one kept has changed nothing.
        return saving.outcome

    async def get(self, session: SessionId) -> SessionState | None:
        rows = await self._database.rows(_ONE, session=session)
        return to_head(rows[0]) if rows else None

    async def get_many(self, sessions: Collection[SessionId]) -> dict[SessionId, SessionState]:
        found: list[SessionState] = []
        for chunk in chunks(list(sessions), CHUNK):
            found += readable(await self._database.rows(select(*HEAD).where(table.c.session_id.in_(chunk))), to_head)
        return {head.session_id: head for head in found}

    async def page(self, where: SessionFilter, *, limit: int = 50, cursor: str | None = None) -> Page[SessionState]:
        check_limit(limit)
        return sessions_page(await self._listed(where, cursor, to_head, limit + 1), limit)

    async def summaries(
        self, where: SessionFilter, *, limit: int = 50, cursor: str | None = None
    ) -> Page[SessionSummary]:
        check_limit(limit)
        return sessions_page(await self._listed(where, cursor, to_summary, limit + 1), limit)

    async def _listed(
        self, where: SessionFilter, cursor: str | None, read: Callable[[Found[Any]], Item], count: int
    ) -> list[Item]:
        query = select(*HEAD).order_by(table.c.listed_at.desc(), table.c.session_id)
        query = query.where(*self._conditions(where))
        if where.status is None:
            query = query.where(_NOT_DELETED)
        if after := position_of("sessions", cursor):
            query = query.where(later(table.c.listed_at, table.c.session_id, after))
        return await self._database.first(query, read, count)

    async def due(self, before: datetime, *, limit: int) -> list[SessionState]:
        query = select(*HEAD).where(table.c.due_at <= to_milliseconds(before))
        return await self._database.first(
            query.order_by(table.c.due_at, table.c.session_id), to_head, check_limit(limit)
        )

    async def scan(self, *, limit: int, cursor: str | None = None) -> Page[SessionState]:
        after = name_after("heads", cursor)
        query = select(*HEAD).where(table.c.session_id > after).order_by(table.c.session_id)
        rows = await self._database.rows(query.limit(check_limit(limit) + 1))
        return scanned("heads", rows, limit, lambda row: str(row.session_id), to_head)

    async def statistics(self, where: SessionFilter) -> SessionStatistics:
        sums = (func.count(), func.sum(table.c.message_count), func.sum(table.c.lasted_ms))
        query = select(table.c.status, *sums).where(*self._conditions(where), _NOT_DELETED).group_by(table.c.status)
        return to_statistics(Tally(*row) for row in await self._database.rows(query))

    def _conditions(self, where: SessionFilter) -> list[ColumnElement[bool]]:
        fields = where.model_dump(mode="json", exclude_none=True, exclude={"tags", "conflicts"})
        conditions: list[ColumnElement[bool]] = [table.c[name] == wanted for name, wanted in fields.items()]
        conditions += [self._database.dialect.has_item(table.c.tags, tag_item(tag)) for tag in where.tags]
        if where.conflicts is not None:
            conditions.append(table.c.conflicts.is_(where.conflicts))  # As the index says it, or it would not be used.
        return conditions


class SqlHeads(_StoredHeads):
    """The section of the heads."""

    async def get(self, session: SessionId) -> SessionState | None:
        # Of one that is known there is nothing to wait for, to make again or to end well: each costs more than to ask.
        known = self._database.known.get(session, self._database.opened())
        return known or await super().get(session)


def latest_heads(
    connection: Connection, conversations: Sequence[ConversationId]
) -> dict[ConversationId, SessionState | None]:
    """Return the head of each conversation's latest session, or None in the place of one that is damaged."""
    found = connection.execute(_LATEST, {"conversations": conversations})
    return {row.conversation_id: unless_damaged(row, to_head) for row in found}
