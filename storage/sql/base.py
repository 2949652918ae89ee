"""Connecting to a SQL database, and the transactions that the sections of the store run in."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

import aiosqlite  # noqa: F401 - the driver that a URL names: missing, it is missed here, not at the first call
from sqlalchemy import Column, ColumnElement, Row, Select, and_, literal_column, or_, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from agentbus.contracts.errors import ConfigurationError, StoreRejected, StoreUnavailable
from agentbus.contracts.telemetry import Action
from agentbus.storage.cancelling import finished, taken
from agentbus.storage.connecting import connect_patiently
from agentbus.storage.damage import enough
from agentbus.storage.log_lines import Logger
from agentbus.storage.paging import Position, to_milliseconds
from agentbus.storage.port import StoreInfo, StoreOptions
from agentbus.storage.sql import sqlite
from agentbus.storage.sql.errors import store_errors
from agentbus.storage.sql.schema import metadata

CHUNK = 200
"""How many conversations, keys or ids one statement asks for: far below every database's limits."""

_POOL_TIMEOUT = 10.0

TURN_TIMEOUT = 10.0
"""Seconds that a transaction waits for those before it in this process. Then it waits for other programs, for the busy
timeout: so that a call which can't write ends after 15 s, however many wait."""

_WIPES = 2
"""How often to wait for those who read, for the busy timeout each, until the write-ahead log can be emptied."""

_log = Logger(__name__)

Item = TypeVar("Item")


class SqlDatabase:
    """The connection that the sections of a SQL store share.

    Writing transactions of one process take turns, as SQLite has one writer.
    """

    def __init__(self, url: str, options: StoreOptions) -> None:
        try:
            parsed = make_url(url)
        except ArgumentError:
            raise ConfigurationError("a SQLite URL is like sqlite:///relative.db or sqlite:////absolute.db") from None
        sqlite.check_url(parsed)
        self._url = parsed.set(drivername="sqlite+aiosqlite")
        self.target = f"SQLite file {parsed.database}"
        self._options = options
        self._engine: AsyncEngine | None = None
        self._turn = asyncio.Lock()

    async def start(self) -> None:
        if self._engine is None:
            await connect_patiently(
                self._open,
                target=self.target,
                timeout=self._options.connect_timeout,
                hint="does another program hold a lock on it?",
            )

    async def _open(self) -> None:
        with store_errors(self.target):
            engine = create_async_engine(self._url, pool_timeout=_POOL_TIMEOUT)
            sqlite.prepare(engine)
            try:
                await finished(asyncio.to_thread(sqlite.probe, engine))
                async with _connected(engine.execution_options(**sqlite.WRITES)) as connection, connection.begin():
                    await connection.run_sync(metadata.create_all)
            except BaseException:
                await finished(engine.dispose())
                raise
        self._engine = engine

    async def close(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            await finished(engine.dispose())

    async def info(self) -> StoreInfo:
        async with self.reading() as connection:
            version = await connection.scalar(select(literal_column("sqlite_version()")))
        return StoreInfo(kind="sqlite", version=str(version), server_time=datetime.now(UTC))

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection to read with; the database's errors are the store's."""
        with store_errors(self.target):
            async with _connected(self.opened()) as connection:
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection in a transaction that writes, when it is this one's turn; errors as in `reading`."""
        with store_errors(self.target):
            writing = self.opened().execution_options(**sqlite.WRITES)
            async with self._in_turn(), _connected(writing) as connection, connection.begin():
                yield connection

    @asynccontextmanager
    async def _in_turn(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(TURN_TIMEOUT):
                await self._turn.acquire()
        except TimeoutError:
            raise StoreUnavailable(
                f"{self.target} does not answer: those who write before this one have not ended in "
                f"{TURN_TIMEOUT:g} s: does another program hold a lock on it?"
            ) from None
        try:
            yield
        finally:
            self._turn.release()

    async def first(self, query: Select[Any], read: Callable[[Row[Any]], Item], count: int) -> list[Item]:
        """Return the first `count` rows of `query` that can be read."""
        async with self.reading() as connection:

            async def fetch(asked: int) -> Sequence[Row[Any]]:
                rows: Sequence[Row[Any]] = (await connection.execute(query.limit(asked))).all()
                return rows

            return await enough(fetch, read, count)

    async def wipe(self) -> None:
        """Let bytes that were deleted or replaced leave the files. Raises StoreUnavailable if others read them on."""
        for _ in range(_WIPES):
            if await self.wiped():
                return
        raise StoreUnavailable(
            f"{self.target}: what was deleted is still in its write-ahead log, as another program is reading it: "
            "make the same call again once that one (a backup?) has ended"
        )

    async def wiped(self) -> bool:
        """Empty the write-ahead log; return False, and say so, if somebody reads older pages for too long."""
        with store_errors(self.target):
            async with self._in_turn(), _connected(self.opened()) as connection:
                found = await connection.exec_driver_sql(sqlite.WIPE)
                busy = bool(found.one().busy)
        if busy:
            _log.warning(Action.STORE_WIPING, url=self.target)
        return not busy

    def opened(self) -> AsyncEngine:
        """Return the engine. Raises StoreRejected unless the store is open."""
        if self._engine is None:
            raise StoreRejected(f"{self.target} is not open: call start() first")
        return self._engine


class SqlSection:
    """A section of a SQL store."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database


@asynccontextmanager
async def _connected(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Take a connection and give it back, also while being cancelled."""
    connection = await taken(engine.connect().start(), AsyncConnection.close)
    try:
        yield connection
    finally:
        await finished(connection.close())


def later(moment: Column[int], identity: Column[str], after: Position) -> ColumnElement[bool]:
    """Return what holds for the rows after a position in a list: the latest first, then by id."""
    ended = to_milliseconds(after[0])
    # The first condition says nothing more than the others, but lets the database begin there in its index.
    return and_(moment <= ended, or_(moment < ended, and_(moment == ended, identity > after[1])))
