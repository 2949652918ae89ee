"""The tables of a SQL database: made by whoever comes first, brought to this release, refused if of a later one."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, event, select, text
from sqlalchemy.exc import ProgrammingError

from agentbus.contracts.errors import StoreRejected
from agentbus.contracts.history import SessionFilter
from agentbus.contracts.ids import ConversationId, Partition
from agentbus.storage.factory import open_store
from agentbus.storage.sql import SqlStore, schema
from agentbus.storage.sql.dialects import mysql
from agentbus.storage.sql.revisions import HERE, REVISIONS
from tests.harness.builders import a_commit, a_conversation, a_head, a_parked, begun
from tests.services import SqlServer

BEFORE = Path(__file__).parents[1] / "samples" / "stores" / "sqlite-before-revisions.sql"
ONE = ConversationId("a" * 26)

everywhere = pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mariadb"])


@contextmanager
def new_database(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Give the URL of a database without tables."""
    with ExitStack() as stack:
        if kind == "sqlite":
            yield f"sqlite:///{tmp_path}/store.db"
        else:
            server: SqlServer = request.getfixturevalue(kind)
            yield stack.enter_context(server.fresh_database())


@pytest.fixture
def url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with new_database(kind, request, tmp_path) as url:
        yield url


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[SqlStore]:
    async with open_store(url) as store:
        assert isinstance(store, SqlStore)
        yield store


async def changed(url: str, *statements: str) -> None:
    """Execute statements in a database that has its tables."""
    async with opened(url) as store:
        await store._database.write(lambda connection: [connection.execute(text(one)) for one in statements])


def as_before(place: Path) -> str:
    """Make a file as the last release left it that kept no revision, and return its URL."""
    with closing(sqlite3.connect(place)) as connection:
        connection.executescript(BEFORE.read_text())
    return f"sqlite:///{place}"


def differences(connection: Connection) -> list[Any]:
    """Return how the tables differ from those of the schema."""
    partial = connection.dialect.name in schema.PARTIAL

    def compared(_object: Any, name: str | None, kind: str, _reflected: bool, _compared_to: Any) -> bool:
        return name != "alembic_version" and (partial or (kind, name) != ("index", "heads_by_conflict"))

    context = MigrationContext.configure(connection, opts={"include_object": compared, "compare_type": True})
    return list(compare_metadata(context, schema.metadata))


def test_revisions_are_known_in_their_order() -> None:
    config = Config()
    config.set_main_option("script_location", str(HERE))
    revisions = ScriptDirectory.from_config(config).walk_revisions()

    assert tuple(one.revision for one in revisions)[::-1] == REVISIONS


async def test_file_of_before_revisions_is_read_and_brought_to_this_release(tmp_path: Path) -> None:
    async with opened(as_before(tmp_path / "store.db")) as store:
        assert (await store.log.read(ONE, limit=2)) == [a_commit(ONE, events=[begun(ONE)])]
        assert (await store.heads.page(SessionFilter())).items == (a_head(ONE),)
        [listed] = (await store.parked.page()).items
        kept = await store.parked.get(listed.parked_id)
        assert kept is not None
        assert kept.body == b"\x00body"
        assert await store.members.take_epoch("group", Partition(3)) == 2
        assert await store.log.append([a_commit(ONE, 2, inputs=["other"])]) == [None]

        assert await store._database.read(differences) == []
        [[version]] = await store._database.rows(select(text("version_num")).select_from(text("alembic_version")))
        assert version == REVISIONS[-1]
        # The last release refuses any other.
        assert await store._database.read(lambda connection: connection.scalar(text("PRAGMA user_version"))) == 4


async def test_file_that_can_not_be_brought_to_this_release_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "store.db"
    url = as_before(place)
    with closing(sqlite3.connect(place)) as connection:
        before = list(connection.iterdump())

    def broken(*_: object, **__: object) -> None:
        raise ProgrammingError("CREATE", {}, sqlite3.ProgrammingError("halfway"))

    with monkeypatch.context() as patched:
        patched.setattr("alembic.operations.Operations.create_table", broken)
        with pytest.raises(StoreRejected, match="halfway"):
            await open_store(url).start()
    with closing(sqlite3.connect(place)) as connection:
        assert list(connection.iterdump()) == before

    async with opened(url) as store:
        assert (await store.log.read(ONE, limit=2)) != []


@everywhere
async def test_new_tables_are_those_of_the_schema(url: str) -> None:
    async with opened(url) as store:
        assert await store._database.read(differences) == []


@pytest.mark.parametrize("kind", ["mariadb"])
async def test_tables_have_transactions_and_long_keys_whatever_the_servers_defaults(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlucky = ("SET SESSION default_storage_engine = 'Aria'",)
    monkeypatch.setattr(mysql, "SETTINGS", (*mysql.SETTINGS, *unlucky))
    asked = text("SELECT DISTINCT ENGINE, ROW_FORMAT FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()")
    async with opened(url) as store:
        found = await store._database.read(lambda connection: connection.execute(asked).all())
        assert [tuple(row) for row in found] == [("InnoDB", "Dynamic")]


@everywhere
async def test_those_who_open_a_new_database_at_once_do_not_collide(url: str) -> None:
    stores = [open_store(url) for _ in range(4)]
    try:
        await asyncio.gather(*(store.start() for store in stores))
        one = a_conversation()
        await stores[0].log.append([a_commit(one)])
        assert [len(await store.log.read(one, limit=2)) for store in stores] == [1] * 4
    finally:
        await asyncio.gather(*(store.close() for store in stores))


async def test_those_who_bring_a_file_to_this_release_at_once_do_not_collide(tmp_path: Path) -> None:
    url = as_before(tmp_path / "store.db")
    stores = [open_store(url) for _ in range(4)]
    try:
        await asyncio.gather(*(store.start() for store in stores))
        assert [len(await store.log.read(ONE, limit=2)) for store in stores] == [1] * 4
    finally:
        await asyncio.gather(*(store.close() for store in stores))


@everywhere
async def test_tables_of_a_later_release_are_refused(url: str) -> None:
    await changed(url, "UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(StoreRejected, match="of revision 9999, while this one knows them up to"):
        await open_store(url).start()


@everywhere
async def test_new_tables_are_made_without_looking_for_each_of_their_indexes(url: str) -> None:
    asked: list[str] = []

    def note(_connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        asked.append(statement.split(maxsplit=1)[0])

    event.listen(Engine, "before_cursor_execute", note)
    try:
        async with opened(url):
            pass
    finally:
        event.remove(Engine, "before_cursor_execute", note)

    assert asked.count("CREATE") >= len(schema.metadata.tables) + 1
    assert len(asked) - asked.count("CREATE") < len(schema.metadata.tables)


@pytest.mark.parametrize("kind", ["mariadb"])
async def test_making_the_tables_is_taken_up_where_it_was_interrupted(url: str) -> None:
    await changed(
        url,
        "DROP TABLE alembic_version",
        "DROP TABLE locks",
        "DROP INDEX heads_by_due ON heads",
        "DROP INDEX records_by_due ON records",
    )

    async with opened(url) as store:
        await store.parked.put(a_parked("one"))
        assert await store._database.read(differences) == []
