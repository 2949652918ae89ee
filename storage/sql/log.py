"""The log in SQL: commits, the inputs in them, and the messages that they amend."""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, Select, Table, and_, bindparam, delete, exists, func, insert, or_, select, update
from sqlalchemy import Row as Found
from sqlalchemy.exc import IntegrityError

from agentbus.contracts.errors import DuplicateInput, StoreError, StoreRejected, VersionConflict
from agentbus.contracts.events import Commit
from agentbus.contracts.ids import ConversationId, InputId, MessageKey
from agentbus.contracts.session import SessionState
from agentbus.storage.chunks import chunks
from agentbus.storage.paging import check_limit
from agentbus.storage.port import Loaded, Log, stamp_of
from agentbus.storage.sql import schema
from agentbus.storage.sql.again import made_again
from agentbus.storage.sql.base import CHUNK, SqlSection
from agentbus.storage.sql.codec import COMMIT, Row, amendment_rows, commit_row, input_rows, to_commit
from agentbus.storage.sql.dialects.port import Batch
from agentbus.storage.sql.heads import Saving, latest_heads, of_latest_heads
from agentbus.storage.wholeness import first_needed, loaded, reloaded

_Kept = tuple[Commit, Row]
"""A commit with its row."""

_COMMITS: Final = insert(schema.commits)
_INPUTS: Final = insert(schema.inputs)
_AMENDMENTS: Final = insert(schema.amendments)
_AFTER: Final = (
    select(*COMMIT)
    .where(
        schema.commits.c.conversation_id == bindparam("conversation"), schema.commits.c.version >= bindparam("first")
    )
    .order_by(schema.commits.c.version)
)
_STAMPS: Final = of_latest_heads(
    schema.heads.c.conversation_id,
    schema.heads.c.version,
    schema.heads.c.body,
    select(func.max(schema.commits.c.version))
    .where(schema.commits.c.conversation_id == schema.heads.c.conversation_id)
    .scalar_subquery()
    .label("last"),
)
"""The latest heads, as they are kept, and the last commits of their logs."""

_REPLACE: Final = (
    update(schema.commits)
    .where(
        *(column == bindparam(f"new_{column.name}") for column in schema.commits.primary_key),
    )
    .values({column.name: bindparam(f"new_{column.name}") for column in schema.commits.c if not column.primary_key})
)


@made_again
class SqlLog(SqlSection, Log):
    """The section of the log."""

    async def append(self, commits: Sequence[Commit]) -> list[StoreError | None]:
        return (await self._appended(commits, ()))[0]

    async def commit(
        self, commits: Sequence[Commit], heads: Sequence[SessionState]
    ) -> tuple[list[StoreError | None], list[StoreError | None] | None]:
        # Of servers with many writers each row that is held is one that others wait for.
        together = self._database.dialect.ONE_WRITER
        outcome, saved = await self._appended(commits, heads if together else ())
        return outcome, saved if together else None

    async def _appended(
        self, commits: Sequence[Commit], heads: Sequence[SessionState]
    ) -> tuple[list[StoreError | None], list[StoreError | None] | None]:
        outcome: list[StoreError | None] = [None] * len(commits)
        rows = [commit_row(commit) for commit in commits]
        places = [place for place, row in enumerate(rows) if not self._refused(outcome, place, row)]
        # In one order in all processes: so none waits for another that waits for it.
        places.sort(key=lambda place: (commits[place].conversation_id, commits[place].version))
        chosen = [(commits[place], rows[place]) for place in places]
        if not chosen:
            return outcome, None
        saving = Saving(self._database, heads if len(chosen) == len(commits) else ())

        try:
            try:
                await self._database.put([*_batches(chosen), *saving.batches])
            except BaseException:
                saving.forget(self._database)  # It may have been done: that of a call that was cancelled, say.
                raise
            saving.know(self._database)
            return outcome, saving.outcome if len(chosen) == len(commits) else None
        except IntegrityError:
            singly = await self._database.write(lambda connection: [_append_one(connection, one) for one in chosen])
            for place, refusal in zip(places, singly, strict=True):
                outcome[place] = refusal
        return outcome, None

    def _refused(self, outcome: list[StoreError | None], place: int, row: Row) -> bool:
        outcome[place] = self._database.too_large(row["body"])
        return outcome[place] is not None

    async def load(self, conversations: Collection[ConversationId]) -> dict[ConversationId, Loaded]:
        found: dict[ConversationId, Loaded] = {}
        for chunk in chunks(list(conversations), CHUNK):
            found |= await self._database.read(partial(_load, chunk))
        return found

    async def stamps(self, conversations: Collection[ConversationId]) -> Mapping[ConversationId, str]:
        found: dict[ConversationId, str] = {}
        for chunk in chunks(list(conversations), CHUNK):
            for row in await self._database.rows(_STAMPS, conversations=chunk):
                # As it is kept: what is no text is no reason to fail here.
                body = row.body.encode("utf-8", "surrogateescape")
                found[row.conversation_id] = stamp_of(max(row.version, row.last or 0), body)
        return found

    async def conversations(self, *, after: ConversationId | None = None, limit: int) -> list[ConversationId]:
        check_limit(limit)
        found: set[ConversationId] = set()
        for column in (schema.commits.c.conversation_id, schema.heads.c.conversation_id):
            query = select(column).where(column > (after or "")).distinct().order_by(column).limit(limit)
            found.update(ConversationId(one) for [one] in await self._database.rows(query))
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
        rows = await self._database.rows(query.order_by(order).limit(check_limit(limit)))
        return [to_commit(row) for row in rows]

    async def commits_of_inputs(
        self, conversation: ConversationId, inputs: Collection[InputId]
    ) -> Mapping[InputId, Commit]:
        found: dict[InputId, Commit] = {}
        for chunk in chunks(list(inputs), CHUNK):
            for row in await self._database.rows(_by_inputs(conversation, chunk)):
                found[InputId(row.input_id)] = to_commit(row)
        return found

    async def commits_amending(self, conversation: ConversationId, targets: Collection[MessageKey]) -> list[Commit]:
        found: dict[int, Commit] = {}
        for chunk in chunks(list(targets), CHUNK):
            wanted = select(schema.amendments.c.version).where(
                schema.amendments.c.conversation_id == conversation, schema.amendments.c.target.in_(chunk)
            )
            query = select(*COMMIT).where(
                schema.commits.c.conversation_id == conversation, schema.commits.c.version.in_(wanted)
            )
            found |= {row.version: to_commit(row) for row in await self._database.rows(query)}
        return [found[version] for version in sorted(found)]

    async def replace(self, commits: Sequence[Commit]) -> None:
        rows = [(commit, commit_row(commit)) for commit in sorted(commits, key=_identity)]
        if refused := next(filter(None, (self._database.too_large(row["body"]) for _, row in rows)), None):
            raise refused
        try:
            await self._database.write(partial(_replace_all, rows))
        except IntegrityError:
            raise StoreRejected(
                "nothing was replaced: another commit of the conversation holds an input of a new one"
            ) from None
        if commits:
            await self._database.wiped()  # If not now, with the next.
        else:
            await self._database.wipe()


def _identity(commit: Commit) -> tuple[ConversationId, int]:
    return commit.conversation_id, commit.version


def _batches(chosen: Sequence[_Kept]) -> list[Batch]:
    """Return what puts commits into the database, with their inputs and amendments."""
    return [(_COMMITS, [row for _, row in chosen]), *_parts([commit for commit, _ in chosen])]


def _parts(commits: Sequence[Commit]) -> list[Batch]:
    """Return what puts the inputs and amendments of commits into the database."""
    inputs = [row for commit in commits for row in input_rows(commit)]
    amendments = [row for commit in commits for row in amendment_rows(commit)]
    return [batch for batch in ((_INPUTS, inputs), (_AMENDMENTS, amendments)) if batch[1]]


def _insert(connection: Connection, batches: Sequence[Batch]) -> None:
    for statement, rows in batches:
        connection.execute(statement, rows)


def _append_one(connection: Connection, one: _Kept) -> StoreError | None:
    try:
        with connection.begin_nested():
            _insert(connection, _batches([one]))
    except IntegrityError:
        taken = exists().where(
            schema.commits.c.conversation_id == one[0].conversation_id, schema.commits.c.version == one[0].version
        )
        return VersionConflict() if connection.scalar(select(taken)) else DuplicateInput()
    return None


def _replace_all(rows: Sequence[_Kept], connection: Connection) -> None:
    for chunk in chunks(rows, CHUNK):
        _replace(connection, chunk)


def _replace(connection: Connection, batch: Sequence[_Kept]) -> None:
    """Put those commits of a batch that are kept in their places, with the rows of their inputs and amendments."""
    wanted = {_identity(commit): (commit, row) for commit, row in batch}
    versions: dict[ConversationId, list[int]] = {}
    for conversation, version in wanted:
        versions.setdefault(conversation, []).append(version)
    chosen = or_(
        *(
            and_(schema.commits.c.conversation_id == conversation, schema.commits.c.version.in_(of_conversation))
            for conversation, of_conversation in versions.items()
        )
    )
    # Others that replace the same wait here, and then find what this one put in its place.
    query = select(*COMMIT).where(chosen).order_by(*schema.commits.primary_key).with_for_update()
    kept = [to_commit(row) for row in connection.execute(query)]
    if not kept:
        return
    _delete(connection, schema.inputs, [row for commit in kept for row in input_rows(commit)])
    _delete(connection, schema.amendments, [row for commit in kept for row in amendment_rows(commit)])
    replacing = [wanted[_identity(commit)] for commit in kept]
    connection.execute(_REPLACE, [_bound(row) for _, row in replacing])
    _insert(connection, _parts([commit for commit, _ in replacing]))


def _bound(row: Row) -> Row:
    """Return the parameters of `_REPLACE`."""
    return {f"new_{name}": value for name, value in row.items()}


def _delete(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Delete rows by their primary keys."""
    if rows:
        same = and_(*(column == bindparam(column.name) for column in table.primary_key))
        keys = [{column.name: row[column.name] for column in table.primary_key} for row in rows]
        connection.execute(delete(table).where(same), keys)


def _load(chunk: Sequence[ConversationId], connection: Connection) -> dict[ConversationId, Loaded]:
    heads = latest_heads(connection, chunk)
    after = _commits_after(connection, chunk, heads)
    found: dict[ConversationId, Loaded] = {}
    for key in chunk:
        head, rows = heads.get(key), after.get(key, ())
        damaged = key in heads and head is None
        found[key] = reloaded(key, map(to_commit, rows)) if damaged else loaded(head, map(to_commit, rows))
    return found


def _commits_after(
    connection: Connection, chunk: Sequence[ConversationId], heads: Mapping[ConversationId, SessionState | None]
) -> dict[ConversationId, list[Found[Any]]]:
    """Return for each conversation the commits that are needed beside its head, oldest first."""
    first = {key: first_needed(heads.get(key)) for key in chunk}
    if len(chunk) == 1:
        [key] = chunk
        return {key: list(connection.execute(_AFTER, {"conversation": key, "first": first[key]}))}
    later = or_(
        *(and_(schema.commits.c.conversation_id == key, schema.commits.c.version >= first[key]) for key in first)
    )
    query = select(*COMMIT).where(later).order_by(schema.commits.c.conversation_id, schema.commits.c.version)
    found: dict[ConversationId, list[Found[Any]]] = {}
    for row in connection.execute(query):
        found.setdefault(row.conversation_id, []).append(row)
    return found


def _by_inputs(conversation: ConversationId, inputs: Sequence[InputId]) -> Select[Any]:
    same = and_(
        schema.commits.c.conversation_id == schema.inputs.c.conversation_id,
        schema.commits.c.version == schema.inputs.c.version,
    )
    wanted = and_(schema.inputs.c.conversation_id == conversation, schema.inputs.c.input_id.in_(inputs))
    return select(schema.inputs.c.input_id, *COMMIT).join_from(schema.inputs, schema.commits, same).where(wanted)
