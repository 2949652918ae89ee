"""What is particular to SQLite: files of an earlier version, bytes that were erased, and answers from indexes."""

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import structlog
from sqlalchemy import Connection, event, insert

from agentbus.contracts.errors import StoreDamaged, StoreRejected, StoreUnavailable
from agentbus.contracts.history import SessionFilter
from agentbus.contracts.ids import InputId
from agentbus.contracts.records import RecordKind
from agentbus.storage import cancelling
from agentbus.storage.factory import open_store
from agentbus.storage.port import Store
from agentbus.storage.sql import SqlStore
from agentbus.storage.sql.dialects.sqlite import SCHEMA_VERSION, FileConnections
from agentbus.storage.sql.schema import inputs
from agentbus.testing.conformance.store_records_suite import a_deadline, a_record
from tests.harness.builders import NOON, a_commit, a_conversation, a_head, a_moment, a_parked, begun, data_set
from tests.harness.patience import PATIENCE

TO_VERSION_3: Final = """
DROP INDEX heads_by_identity;
DROP INDEX heads_by_conflict;
DROP INDEX records_by_due;
ALTER TABLE heads DROP COLUMN identity;
ALTER TABLE heads DROP COLUMN conflicts;
ALTER TABLE records DROP COLUMN revision;
ALTER TABLE records DROP COLUMN due_at;
PRAGMA user_version = 3;
"""

TRACE: Final = "Sesame-opens-4711"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def url(place: Path) -> str:
    return f"sqlite:///{place}"


def schema_of(place: Path) -> tuple[int, dict[str, set[tuple[str, str]]], dict[str, list[str]]]:
    """Return the version of the tables, the columns of each with their types, and each index as words."""
    with closing(sqlite3.connect(place)) as connection:
        [version] = connection.execute("PRAGMA user_version").fetchone()
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = {name: {row[1:3] for row in connection.execute(f"PRAGMA table_info({name})")} for name in names}
        indexes = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")
        return version, columns, {name: sql.replace('"', "").split() for name, sql in indexes}


# Files of an earlier version


async def test_tables_of_version_3_are_brought_to_this_one(place: Path, url: str) -> None:
    one = a_conversation()
    commit, head, record = a_commit(one), a_head(one), a_record(data=1)
    async with open_store(url) as store:
        await store.log.append([commit])
        await store.heads.save([head])
        await store.records.put(record)
    wanted = schema_of(place)
    with closing(sqlite3.connect(place)) as connection:
        connection.executescript(TO_VERSION_3)

    async with open_store(url) as store:
        assert await store.log.read(one, limit=1) == [commit]
        assert (await store.heads.page(SessionFilter(conflicts=False))).items == (head,)
        assert (await store.heads.page(SessionFilter(identity="ann"))).items == ()
        assert await store.records.due(record.kind, a_moment(), limit=1) == []
        due = record.model_copy(update={"due_at": a_moment()})
        await store.records.put_many([due])
        assert await store.records.due(record.kind, a_moment(), limit=1) == [due]

    assert schema_of(place) == wanted
    assert wanted[0] == SCHEMA_VERSION


async def test_tables_are_brought_to_this_version_wholly_or_not(
    place: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_store(url):
        pass
    wanted = schema_of(place)
    with closing(sqlite3.connect(place)) as connection:
        connection.executescript(TO_VERSION_3)
    before = schema_of(place)

    with monkeypatch.context() as broken:
        halfway = ("ALTER TABLE heads ADD COLUMN identity VARCHAR", "ALTER TABLE nowhere ADD COLUMN identity")
        broken.setattr("agentbus.storage.sql.dialects.sqlite.MIGRATIONS", {3: halfway})
        with pytest.raises(StoreRejected, match="nowhere"):
            await open_store(url).start()
        assert schema_of(place) == before

    async with open_store(url):
        pass
    assert schema_of(place) == wanted


# Erasing


async def test_nothing_of_what_was_erased_is_left_in_the_files(tmp_path: Path, url: str) -> None:
    one = a_conversation()
    head = a_head(one, data={"secret": TRACE})
    commits = [
        a_commit(one, n, inputs=[f"{TRACE}-{n}"], events=[data_set(one, n, {"text": TRACE * 50})]) for n in range(1, 40)
    ]
    record = a_record(TRACE, kind=RecordKind.CONTACT, data=TRACE)
    parked = a_parked(TRACE, reason=TRACE, body=TRACE.encode() * 10_000)
    async with open_store(url) as store:
        for commit in commits:
            await store.log.append([commit])
        await store.heads.save([head])
        await store.records.put(record)
        await store.parked.put(parked)
        assert TRACE.encode() in bytes_of(tmp_path)

        await store.heads.save([a_head(one, version=2)])
        await store.records.delete(record.kind, record.key)
        await store.parked.delete(parked.parked_id)
        await store.log.replace([a_commit(one, commit.version) for commit in commits])

        assert TRACE.encode() not in bytes_of(tmp_path)
        assert await store.log.commits_of_inputs(one, [InputId("input-7")]) == {"input-7": a_commit(one, 7)}
    assert TRACE.encode() not in bytes_of(tmp_path)


async def test_erasing_is_not_done_while_others_read_what_was_erased(
    place: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "agentbus.storage.sql.dialects.sqlite.PRAGMAS", ("PRAGMA busy_timeout = 50", "PRAGMA journal_mode = WAL")
    )
    parked = a_parked(body=TRACE.encode() * 100)
    async with open_store(url) as store:
        await store.parked.put(parked)
        with closing(sqlite3.connect(place, isolation_level=None)) as other:
            other.execute("BEGIN")
            other.execute("SELECT * FROM parked").fetchall()

            with pytest.raises(StoreUnavailable, match="write-ahead log"):
                await store.parked.delete(parked.parked_id)
            with pytest.raises(StoreUnavailable, match="write-ahead log"):
                await store.log.replace(())
            assert TRACE.encode() in bytes_of(place.parent)

        assert not await store.parked.delete(parked.parked_id)
        assert TRACE.encode() not in bytes_of(place.parent)


async def test_readers_of_other_processes_do_not_make_erasing_fail(
    place: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "agentbus.storage.sql.dialects.sqlite.PRAGMAS", ("PRAGMA busy_timeout = 50", "PRAGMA journal_mode = WAL")
    )
    one = a_conversation()
    async with open_store(url) as store:
        await store.log.append([a_commit(one)])
        with closing(sqlite3.connect(place, isolation_level=None)) as other:
            other.execute("BEGIN")
            other.execute("SELECT * FROM commits").fetchall()

            with structlog.testing.capture_logs() as logs:
                await store.log.replace([a_commit(one, inputs=["new"])])

            assert [entry["event"] for entry in logs] == ["store_wiping"]
            assert await store.log.commits_of_inputs(one, [InputId("new")]) == {"new": a_commit(one, inputs=["new"])}


def bytes_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


# Answers from indexes


@contextmanager
def plans(store: Store, place: Path) -> Iterator[list[str]]:
    """Give a list that gets the query plan of each statement that the store executes, the first of many alike."""
    found: list[str] = []

    def explain(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        if not statement.startswith(("INSERT", "PRAGMA", "BEGIN")):
            with closing(sqlite3.connect(place)) as other:
                plan = other.execute(f"EXPLAIN QUERY PLAN {statement}", parameters[0] if many else parameters)
                found.append("; ".join(row[3] for row in plan))

    assert isinstance(store, SqlStore)
    connections = store._database.opened()
    assert isinstance(connections, FileConnections)
    for engine in (connections.engine, connections._writing):
        event.listen(engine, "before_cursor_execute", explain)
    try:
        yield found
    finally:
        for engine in (connections.engine, connections._writing):
            event.remove(engine, "before_cursor_execute", explain)


async def test_lists_walk_along_an_index(place: Path, url: str) -> None:
    async with open_store(url) as store:
        with plans(store, place) as found:
            await store.records.due(RecordKind.DEADLINE, NOON, limit=10)
            await store.records.due(RecordKind.DEADLINE, NOON, groups=[str(n) for n in range(64)], limit=10)
            await store.heads.page(SessionFilter(identity="ann"))
            await store.heads.page(SessionFilter(conflicts=True))

    assert ["TEMP B-TREE" in plan for plan in found] == [False] * 4
    for plan, index in zip(found, ("records_by_due",) * 2 + ("heads_by_identity", "heads_by_conflict"), strict=True):
        assert f"USING INDEX {index}" in plan


async def test_writing_in_bulk_finds_rows_by_their_keys(place: Path, url: str) -> None:
    records = [a_deadline("k"), a_deadline("l"), a_record("k")]
    conversations = [a_conversation() for _ in range(3)]
    commits = [a_commit(one, version) for one in conversations for version in (1, 2)]
    async with open_store(url) as store:
        await store.records.put_many(records)
        for commit in commits:
            await store.log.append([commit])
        await store.heads.save([a_head(one) for one in conversations])
        with plans(store, place) as found:
            await store.records.put_many(records)
            await store.records.drop(records)
            await store.heads.get_many([a_head(one).session_id for one in conversations])
            await store.log.replace(commits)

    assert len(found) == 5  # those that put what was given find it by its key anyway
    assert [plan for plan in found if "SCAN" in plan] == []


@pytest.mark.parametrize("body", ["CAST(x'7b22ff' AS TEXT)", "x'ff00'", "5", "''"])
async def test_row_that_holds_no_text_hides_no_other(place: Path, url: str, body: str) -> None:
    one, other = (a_conversation() for _ in range(2))
    async with open_store(url) as store:
        await store.log.append([first := a_commit(one, events=[begun(one)]), fine := a_commit(other)])
        await store.heads.save([head := a_head(one), sound := a_head(other)])
        with closing(sqlite3.connect(place)) as connection, connection:
            connection.execute(f"UPDATE heads SET body = {body} WHERE conversation_id = ?", (one,))  # noqa: S608 - constants

        assert (await store.heads.page(SessionFilter())).items == (sound,)
        assert (await store.log.load([one, other]))[one].commits == (first,)
        with pytest.raises(StoreDamaged, match=head.session_id):
            await store.heads.get(head.session_id)

        with closing(sqlite3.connect(place)) as connection, connection:
            connection.execute(f"UPDATE commits SET body = {body} WHERE conversation_id = ?", (one,))  # noqa: S608 - constants

        loaded = await store.log.load([one, other])
        assert isinstance(loaded[one].damage, StoreDamaged)
        assert loaded[other].head == sound
        assert await store.log.read(other, limit=1) == [fine]


async def test_what_this_process_wrote_last_is_read_from_no_file_until_another_one_writes(
    place: Path, url: str
) -> None:
    conversation = a_conversation()
    head = a_head(conversation, version=1)
    async with open_store(url) as store, open_store(url) as other:
        with plans(store, place) as read:
            assert await store.log.commit([a_commit(conversation, 1)], [head]) == ([None], [None])
            assert await store.heads.get(head.session_id) is head
            assert read == []
            assert await other.log.append([a_commit(a_conversation(), 1)]) == [None]
            assert await store.heads.get(head.session_id) == head
            assert len(read) == 1


async def test_a_commit_that_was_cancelled_leaves_nothing_known_that_may_not_be(url: str) -> None:
    conversation = a_conversation()
    async with open_store(url) as store:
        for version in range(1, 30):
            head = a_head(conversation, version=version, data={"number": version})
            writing = asyncio.ensure_future(store.log.commit([a_commit(conversation, version)], [head]))
            await asyncio.sleep(version / 10_000)
            writing.cancel()
            await asyncio.wait({writing})
            found = (await store.log.load([conversation]))[conversation]
            if found.version < version:
                assert await store.log.commit([a_commit(conversation, version)], [head]) == ([None], [None])
            assert await store.heads.get(head.session_id) == head


async def test_rows_are_put_by_a_new_connection_when_the_one_that_writes_was_closed(url: str) -> None:
    conversation = a_conversation()
    head = a_head(conversation, version=2)
    async with open_store(url) as store:
        assert await store.log.append([a_commit(conversation, 1)]) == [None]
        connections = connections_of(store)
        connections._writing.dispose()
        assert connections.others_writes() is None
        assert await store.log.commit([a_commit(conversation, 2)], [head]) == ([None], [None])
        assert await store.heads.get(head.session_id) is head


async def test_what_a_failed_transaction_left_open_is_undone_before_the_next_one(url: str) -> None:
    first, second = a_conversation(), a_conversation()
    async with open_store(url) as store:
        assert await store.log.append([a_commit(a_conversation(), 1)]) == [None]
        writer = connections_of(store)._writer
        assert writer
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("INSERT INTO inputs (conversation_id, input_id, version) VALUES (?, 'left', 1)", (first,))
        assert await store.log.append([a_commit(second, 1)]) == [None]
        assert await store.log.commits_of_inputs(first, [InputId("left")]) == {}
        assert (await store.log.load([second]))[second].version == 1


async def test_nobody_writes_beside_what_a_call_left_that_was_cancelled_again_and_again(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cancelling, "GRACE", 0.05)
    conversation, going_on, written = a_conversation(), threading.Event(), threading.Event()
    async with open_store(url) as store:
        connections = connections_of(store)

        def slowly(connection: Connection) -> None:
            connection.execute(insert(inputs), [{"conversation_id": conversation, "input_id": "slow", "version": 1}])
            written.set()
            going_on.wait(PATIENCE)

        slow = asyncio.ensure_future(connections.write(slowly))
        await asyncio.to_thread(written.wait, PATIENCE)
        slow.cancel()
        with structlog.testing.capture_logs() as logs:
            await asyncio.wait({slow})
        assert slow.cancelled()
        assert [one["event"] for one in logs] == ["left_behind"]
        assert connections.others_writes() is None
        after = asyncio.ensure_future(store.log.append([a_commit(conversation, 1)]))
        assert await asyncio.wait({after}, timeout=0.1) == (set(), {after})
        going_on.set()
        assert await after == [None]
        assert await store.log.commits_of_inputs(conversation, [InputId("slow")]) == {}


def connections_of(store: Store) -> FileConnections:
    assert isinstance(store, SqlStore)
    connections = store._database.opened()
    assert isinstance(connections, FileConnections)
    return connections
