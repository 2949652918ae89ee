"""What is particular to SQLite: its URL, its pragmas and how its transactions begin."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, ExceptionContext, event
from sqlalchemy.ext.asyncio import AsyncEngine

from agentbus.contracts.errors import ConfigurationError, StoreRejected
from agentbus.storage import private

WRITES: Final = {"agentbus_writes": True}
"""Execution options of a connection that is going to write."""

SCHEMA_VERSION: Final = 4
"""The version of the tables, kept in the file. A new file has 0."""

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


BESIDE: Final = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside its file, by the ends of their names."""


def check_url(url: URL) -> None:
    """Raise ConfigurationError if `url` names no file, or a host."""
    if url.host:
        raise ConfigurationError(
            f"sqlite://{url.host}/... names a host: write sqlite:///relative.db or sqlite:////absolute/path.db"
        )
    if not url.database or url.database == ":memory:":
        raise ConfigurationError("a SQLite URL needs a file: sqlite:///relative.db; to keep nothing, use memory://")


def prepare(engine: AsyncEngine) -> None:
    """Set the pragmas on each new connection, let writers queue up for the write lock, roll back what is cancelled."""
    event.listen(engine.sync_engine, "connect", _on_connect)
    event.listen(engine.sync_engine, "begin", _on_begin)
    event.listen(engine.sync_engine, "handle_error", _on_error)


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
