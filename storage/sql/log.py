"""The log in SQL: commits, the inputs in them, and the messages that they amend."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Row, Select, Table, and_, bindparam, delete, exists, insert, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from agentbus.contracts.errors import DuplicateInput, StoreError, StoreRejected, VersionConflict
from agentbus.contracts.events import Commit
from agentbus.contracts.ids import ConversationId, InputId, MessageKey
from agentbus.contracts.session import SessionState
from agentbus.storage.calls import end_well
from agentbus.storage.cancelling import cancelled_once
from agentbus.storage.chunks import chunks
from agentbus.storage.paging import check_limit
from agentbus.storage.port import Loaded, Log
from agentbus.storage.sql import schema
from agentbus.storage.sql.base import CHUNK, SqlSection
from agentbus.storage.sql.codec import COMMIT, amendment_rows, commit_row, input_rows, to_commit
from agentbus.storage.sql.heads import latest_heads
from agentbus.storage.wholeness import first_needed, loaded, reloaded


@end_well(cancelled_once)
class SqlLog(SqlSection, Log):
    """The section of the log."""

    async def append(self, commits: Sequence[Commit]) -> list[StoreError | None]:
        if not commits:
            return []
        try:
            async with self._database.writing() as connection:
                await _insert(connection, commits)
        except IntegrityError:
            async with self._database.writing() as connection:
                return [await _append_one(connection, commit) for commit in commits]
        return [None] * len(commits)

    async def load(self, conversations: Collection[ConversationId]) -> dict[ConversationId, Loaded]:
        found: dict[ConversationId, Loaded] = {}
        async with self._database.reading() as connection:
            for chunk in chunks(list(conversations), CHUNK):
                heads = await latest_heads(connection, chunk)
                after = await _commits_after(connection, chunk, heads)
                for key in chunk:
                    head, rows = heads.get(key), after.get(key, ())
                    damaged = key in heads and head is None
                    found[key] = reloaded(key, map(to_commit, rows)) if damaged else loaded(head, map(to_commit, rows))
        return found

    async def conversations(self, *, after: ConversationId | None = None, limit: int) -> list[ConversationId]:
        check_limit(limit)
        found: set[ConversationId] = set()
        async with self._database.reading() as connection:
            for column in (schema.commits.c.conversation_id, schema.heads.c.conversation_id):
                query = select(column).where(column > (after or "")).distinct().order_by(column).limit(limit)
                found.update(await connection.scalars(query))
        return sorted(found)[:limit]

    async def read(
        self,
        conversation: ConversationId,
        *,
        first: int = 1,
        last: int | None = None,
        limit: int,
        newest: bool = False,
    ) -> list[Commit]:
        query = select(*COMMIT).where(
            schema.commits.c.conversation_id == conversation, schema.commits.c.version >= first
        )
        if last is not None:
            query = query.where(schema.commits.c.version <= last)
        order = schema.commits.c.version.desc() if newest else schema.commits.c.version
        async with self._database.reading() as connection:
            rows = await connection.execute(query.order_by(order).limit(check_limit(limit)))
            return [to_commit(row) for row in rows]

    async def commits_of_inputs(
        self, conversation: ConversationId, inputs: Collection[InputId]
    ) -> Mapping[InputId, Commit]:
        found: dict[InputId, Commit] = {}
        async with self._database.reading() as connection:
            for chunk in chunks(list(inputs), CHUNK):
                for row in await connection.execute(_by_inputs(conversation, chunk)):
                    found[InputId(row.input_id)] = to_commit(row)
        return found

    async def commits_amending(self, conversation: ConversationId, targets: Collection[MessageKey]) -> list[Commit]:
        found: dict[int, Commit] = {}
        async with self._database.reading() as connection:
            for chunk in chunks(list(targets), CHUNK):
                wanted = select(schema.amendments.c.version).where(
                    schema.amendments.c.conversation_id == conversation, schema.amendments.c.target.in_(chunk)
                )
                query = select(*COMMIT).where(
                    schema.commits.c.conversation_id == conversation, schema.commits.c.version.in_(wanted)
                )
                found |= {row.version: to_commit(row) for row in await connection.execute(query)}
        return [found[version] for version in sorted(found)]

    async def replace(self, commits: Sequence[Commit]) -> None:
        try:
            async with self._database.writing() as connection:
                for chunk in chunks(commits, CHUNK):
                    await _replace(connection, chunk)
        except IntegrityError:
            raise StoreRejected(
                "nothing was replaced: another commit of the conversation holds an input of a new one"
            ) from None
        if commits:
            await self._database.wiped()  # If not now, with the next.
        else:
            await self._database.wipe()


async def _insert(connection: AsyncConnection, batch: Sequence[Commit]) -> None:
    await connection.execute(insert(schema.commits), [commit_row(commit) for commit in batch])
    if rows := [row for commit in batch for row in input_rows(commit)]:
        await connection.execute(insert(schema.inputs), rows)
    if rows := [row for commit in batch for row in amendment_rows(commit)]:
        await connection.execute(insert(schema.amendments), rows)


async def _append_one(connection: AsyncConnection, commit: Commit) -> StoreError | None:
    try:
        async with connection.begin_nested():
            await _insert(connection, [commit])
    except IntegrityError:
        taken = exists().where(
            schema.commits.c.conversation_id == commit.conversation_id, schema.commits.c.version == commit.version
        )
        return VersionConflict() if await connection.scalar(select(taken)) else DuplicateInput()
    return None


async def _replace(connection: AsyncConnection, batch: Sequence[Commit]) -> None:
    """Put those commits of a batch that are kept in their places, with the rows of their inputs and amendments."""
    wanted = {(commit.conversation_id, commit.version): commit for commit in batch}
    versions: dict[ConversationId, list[int]] = {}
    for conversation, version in wanted:
        versions.setdefault(conversation, []).append(version)
    chosen = or_(
        *(
            and_(schema.commits.c.conversation_id == conversation, schema.commits.c.version.in_(of_conversation))
            for conversation, of_conversation in versions.items()
        )
    )
    kept = [to_commit(row) for row in await connection.execute(select(*COMMIT).where(chosen))]
    await _delete(connection, schema.commits, [commit_row(commit) for commit in kept])
    await _delete(connection, schema.inputs, [row for commit in kept for row in input_rows(commit)])
    await _delete(connection, schema.amendments, [row for commit in kept for row in amendment_rows(commit)])
    if kept:
        await _insert(connection, [wanted[commit.conversation_id, commit.version] for commit in kept])


async def _delete(connection: AsyncConnection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Delete rows by their primary keys."""
    if rows:
        same = and_(*(column == bindparam(column.name) for column in table.primary_key))
        keys = [{column.name: row[column.name] for column in table.primary_key} for row in rows]
        await connection.execute(delete(table).where(same), keys)


async def _commits_after(
    connection: AsyncConnection, chunk: Sequence[ConversationId], heads: Mapping[ConversationId, SessionState | None]
) -> dict[ConversationId, list[Row[Any]]]:
    """Return for each conversation the commits that are needed beside its head, oldest first."""
    first = {key: first_needed(heads.get(key)) for key in chunk}
    later = or_(
        *(and_(schema.commits.c.conversation_id == key, schema.commits.c.version >= first[key]) for key in first)
    )
    query = select(*COMMIT).where(later).order_by(schema.commits.c.conversation_id, schema.commits.c.version)
    found: dict[ConversationId, list[Row[Any]]] = {}
    for row in await connection.execute(query):
        found.setdefault(row.conversation_id, []).append(row)
    return found


def _by_inputs(conversation: ConversationId, inputs: Sequence[InputId]) -> Select[Any]:
    same = and_(
        schema.commits.c.conversation_id == schema.inputs.c.conversation_id,
        schema.commits.c.version == schema.inputs.c.version,
    )
    wanted = and_(schema.inputs.c.conversation_id == conversation, schema.inputs.c.input_id.in_(inputs))
    return select(schema.inputs.c.input_id, *COMMIT).join_from(schema.inputs, schema.commits, same).where(wanted)
