"""What is particular to SQLite: its URL, its pragmas, how its transactions begin, and what its errors mean."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import aiosqlite  # noqa: F401 - the driver that a URL names: missing, it is missed here, not at the first call
from sqlalchemy import (
    URL,
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    ExceptionContext,
    Insert,
    Table,
    event,
    exists,
    func,
    literal,
    literal_column,
    make_url,
)
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from agentbus.contracts.errors import ConfigurationError, StoreRejected
from agentbus.storage import private
from agentbus.storage.cancelling import finished
from agentbus.storage.paging import to_milliseconds
from agentbus.storage.port import Capabilities, Deleted, Lists, Reach, Together
from agentbus.storage.sql.dialects.conflicts import on_conflict
from agentbus.storage.sql.dialects.port import Dialect, Trouble, Values

SCHEMA_VERSION: Final = 4
"""The version of the tables before their revisions were kept in one of them. A new file has 0.

It stays, as the releases that know no revisions refuse any other: what is added since does not trouble them.
"""

MIGRATIONS: Final = {
    3: (
        "ALTER TABLE heads ADD COLUMN identity VARCHAR(255)",
        "ALTER TABLE heads ADD COLUMN conflicts BOOLEAN NOT NULL DEFAULT 0",
        "CREATE INDEX heads_by_identity ON heads (identity, listed_at DESC, session_id) WHERE identity IS NOT NULL",
        "CREATE INDEX heads_by_conflict ON heads (listed_at DESC, session_id) WHERE conflicts IS 1",
        "ALTER TABLE records ADD COLUMN revision BIGINT NOT NULL DEFAULT 0",
        "ALTER TABLE records ADD COLUMN due_at BIGINT",
        'CREATE INDEX records_by_due ON records (kind, due_at, "key", "group") WHERE due_at IS NOT NULL',
    )
}
"""What brings the tables of an earlier version to this one. Processes of the earlier release may go on meanwhile."""

PRAGMAS: Final = (
    "PRAGMA busy_timeout = 5000",
    "PRAGMA journal_mode = WAL",
    # FULL: what was reported done is on the disk, also after a power cut. One sync per transaction.
    "PRAGMA synchronous = FULL",
    # What is deleted or replaced is overwritten: what was erased must not be found in the file.
    "PRAGMA secure_delete = ON",
)

WIPE: Final = "PRAGMA wal_checkpoint(TRUNCATE)"
"""Brings what was written into the file, and empties the write-ahead log, which holds the pages as they were before."""


_POOL_TIMEOUT: Final = 10.0

BESIDE: Final = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside its file, by the ends of their names."""


_TRANSIENT: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_INTERRUPT,
    }
)
"""Primary result codes of SQLite that may pass by themselves or once an operator made room."""

_ADVICE: Final = {
    sqlite3.SQLITE_CANTOPEN: "check that its folder exists and that this user may write there",
    sqlite3.SQLITE_READONLY: "give this user the right to write the file and its folder",
    sqlite3.SQLITE_PERM: "give this user the right to write the file and its folder",
    sqlite3.SQLITE_NOTADB: "the file is something else than a SQLite database: choose another path",
    sqlite3.SQLITE_CORRUPT: "the file is damaged: restore it from a backup",
}
"""What to do about the errors of SQLite that retrying does not cure."""


class Sqlite(Dialect):
    """SQLite, in a file of this machine, through aiosqlite. Its clock is this machine's."""

    HINT = "does another program hold a lock on it?"
    WRITES = {"agentbus_writes": True}
    ONE_WRITER = True
    ERRORS = (sqlite3.Error,)
    CAPABILITIES = Capabilities(
        reach=Reach.MACHINE, is_durable=True, together=Together.BATCH, lists=Lists.INDEXES, deleted=Deleted.GONE
    )

    def __init__(self, url: str) -> None:
        try:
            parsed = make_url(url)
        except ArgumentError:
            raise ConfigurationError("a SQLite URL is like sqlite:///relative.db or sqlite:////absolute.db") from None
        _check_url(parsed)
        self._url = parsed.set(drivername="sqlite+aiosqlite")
        self.target = f"SQLite file {parsed.database}"

    def engine(self) -> AsyncEngine:
        engine = create_async_engine(self._url, pool_timeout=_POOL_TIMEOUT)
        event.listen(engine.sync_engine, "connect", _on_connect)
        event.listen(engine.sync_engine, "begin", _on_begin)
        event.listen(engine.sync_engine, "handle_error", _on_error)
        return engine

    async def probe(self, engine: AsyncEngine) -> None:
        await finished(asyncio.to_thread(probe, engine))

    def lock_schema(self, connection: Connection) -> None:
        """Do nothing: a transaction that writes has the lock on everything from its beginning."""

    def version(self) -> ColumnElement[str]:
        return literal_column("sqlite_version()")

    def now(self) -> ColumnElement[int]:
        return literal(to_milliseconds(datetime.now(UTC)), BigInteger)

    def has_item(self, texts: Column[Any], item: str) -> ColumnElement[bool]:
        items = func.json_each(texts).table_valued("value")
        return exists().select_from(items).where(items.c.value == item)

    def upsert(self, table: Table, values: Values, *, newer: str | None = None) -> Insert:
        return on_conflict(insert(table), table, values, newer)

    def meaning(self, cause: BaseException) -> tuple[Trouble, str] | None:
        code = getattr(cause, "sqlite_errorcode", None)
        if code is None:
            return None
        primary = code & 0xFF
        if primary in _TRANSIENT:
            return Trouble.PASSES, ""
        return Trouble.REFUSED, _ADVICE.get(primary, "the database refuses the operation")

    async def wiped(self, connection: AsyncConnection) -> bool:
        """Empty the write-ahead log; return False if somebody reads older pages for too long."""
        found = await connection.exec_driver_sql(WIPE)
        return not found.one().busy


def _check_url(url: URL) -> None:
    """Raise ConfigurationError if `url` names no file, or a host."""
    if url.host:
        raise ConfigurationError(
            f"sqlite://{url.host}/... names a host: write sqlite:///relative.db or sqlite:////absolute/path.db"
        )
    if not url.database or url.database == ":memory:":
        raise ConfigurationError("a SQLite URL needs a file: sqlite:///relative.db; to keep nothing, use memory://")


def probe(engine: AsyncEngine) -> None:
    """Open the file, write to it and close it again, to find out at once, and in one place, whether that is possible.

    Tables of an earlier version are brought to this one, all or nothing. Blocks for up to the busy timeout. Raises
    sqlite3.Error, or StoreRejected for tables of a version that this release can't use.
    """
    if engine.url.database:
        _keep_private(Path(engine.url.database))
    arguments, settings = engine.dialect.create_connect_args(engine.url)
    connect: Callable[..., sqlite3.Connection] = sqlite3.connect
    with closing(connect(*arguments, **settings)) as connection:
        connection.isolation_level = None  # Transactions begin where it is said.
        for pragma in PRAGMAS:
            connection.execute(pragma)
        connection.execute("BEGIN IMMEDIATE")
        [version] = connection.execute("PRAGMA user_version").fetchone()
        if version not in {0, SCHEMA_VERSION, *MIGRATIONS}:
            raise StoreRejected(
                f"SQLite file {engine.url.database} has tables of version {version}, this release has version "
                f"{SCHEMA_VERSION}: use the release that wrote it, or another file"
            )
        for statement in MIGRATIONS.get(version, ()):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")


def _keep_private(file: Path) -> None:
    """Make the file its owner's alone; what SQLite keeps beside it is made with the same rights."""
    with suppress(OSError):  # SQLite says better what is wrong with the place.
        private.make_file(file)
    for one in (file, *(file.with_name(file.name + suffix) for suffix in BESIDE)):
        private.close_to_others(one)


def _on_connect(connection: Any, _record: object) -> None:
    # The driver must not begin transactions by itself: it would begin them without the write lock.
    try:
        connection.isolation_level = None
        connection.driver_connection.text_factory = _text
        cursor = connection.cursor()
        for pragma in PRAGMAS:
            cursor.execute(pragma)
        cursor.close()
    except BaseException:
        connection.close()  # The pool does not know it yet.
        raise


def _text(raw: bytes) -> str:
    # What is no text is left to whoever reads the row: the driver would fail all those read with it.
    return raw.decode("utf-8", "surrogateescape")


def _on_begin(connection: Connection) -> None:
    # A transaction that reads first and writes later fails at once if another one wrote in between.
    if connection.get_execution_options().get("agentbus_writes"):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _on_error(context: ExceptionContext) -> None:
    # SQLAlchemy takes a cancelled statement for a lost connection, and closes that one without a rollback. SQLite's
    # close then waits for the last cursor with unread rows, which a traceback may keep, and with it goes the write
    # lock. But the driver's thread ends the statement and is there for the next: so the transaction is rolled back.
    if isinstance(context.original_exception, asyncio.CancelledError):
        context.is_disconnect = False
