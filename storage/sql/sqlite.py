"""What is particular to SQLite: its URL, its pragmas and how its transactions begin."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any, Final

from sqlalchemy import URL, Connection, event
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.errors import ConfigurationError, StoreRejected

WRITES: Final = {"agentbus_writes": True}
"""Execution options of a connection that is going to write."""

SCHEMA_VERSION: Final = 3
"""The version of the tables, kept in the file. A new file has 0."""

PRAGMAS: Final = (
    "PRAGMA busy_timeout = 5000",
    "PRAGMA journal_mode = WAL",
    # FULL: what was reported done is on the disk, also after a power cut. One sync per transaction.
    "PRAGMA synchronous = FULL",
)


def check_url(url: URL) -> None:
    """Raise ConfigurationError if `url` names no file, or a host."""
    if url.host:
        raise ConfigurationError(
            f"sqlite://{url.host}/... names a host: write sqlite:///relative.db or sqlite:////absolute/path.db"
        )
    if not url.database or url.database == ":memory:":
        raise ConfigurationError("a SQLite URL needs a file: sqlite:///relative.db; to keep nothing, use memory://")


def prepare(engine: AsyncEngine) -> None:
    """Set the pragmas on each new connection, and let writers queue up for the write lock from the start."""
    event.listen(engine.sync_engine, "connect", _on_connect)
    event.listen(engine.sync_engine, "begin", _on_begin)


def probe(engine: AsyncEngine) -> None:
    """Open the file, write to it and close it again, to find out at once, and in one place, whether that is possible.

    Blocks for up to the busy timeout. Raises sqlite3.Error, or StoreRejected for tables of another version.
    """
    arguments, settings = engine.dialect.create_connect_args(engine.url)
    connect: Callable[..., sqlite3.Connection] = sqlite3.connect
    with closing(connect(*arguments, **settings)) as connection:
        for pragma in PRAGMAS:
            connection.execute(pragma)
        [version] = connection.execute("PRAGMA user_version").fetchone()
        if version not in {0, SCHEMA_VERSION}:
            raise StoreRejected(
                f"SQLite file {engine.url.database} has tables of version {version}, this release has version "
                f"{SCHEMA_VERSION}: use the release that wrote it, or another file"
            )
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _on_connect(connection: Any, _record: object) -> None:
    # The driver must not begin transactions by itself: it would begin them without the write lock.
    connection.isolation_level = None
    cursor = connection.cursor()
    try:
        for pragma in PRAGMAS:
            cursor.execute(pragma)
    except BaseException:
        connection.close()  # The pool does not know it yet.
        raise
    cursor.close()


def _on_begin(connection: Connection) -> None:
    # A transaction that reads first and writes later fails at once if another one wrote in between.
    if connection.get_execution_options().get("agentbus_writes"):
        connection.exec_driver_sql("BEGIN IMMEDIATE")
