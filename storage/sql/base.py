"""Connecting to a SQL database, and the transactions that the sections of the store run in."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from sqlalchemy import Column, ColumnElement, Row, Select, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from agentbus.contracts.errors import StoreRejected, StoreUnavailable
from agentbus.contracts.telemetry import Action
from agentbus.storage.cancelling import finished, taken
from agentbus.storage.connecting import connect_patiently
from agentbus.storage.damage import enough
from agentbus.storage.log_lines import Logger
from agentbus.storage.paging import Position, from_milliseconds, to_milliseconds
from agentbus.storage.port import StoreInfo, StoreOptions
from agentbus.storage.sql.dialects import dialect_of
from agentbus.storage.sql.errors import store_errors
from agentbus.storage.sql.revisions import bring_up_to_date, is_up_to_date

CHUNK: Final = 200
"""How many conversations, keys or ids one statement asks for: far below every database's limits."""

TURN_TIMEOUT = 10.0
"""Seconds that a transaction waits for those before it in this process, where the database has one writer. Then it
waits for other programs, for the busy timeout: so that a call which can't write ends after 15 s, however many wait."""

_WIPES = 2
"""How often to wait for those who read, for the busy timeout each, until the write-ahead log can be emptied."""

_log = Logger(__name__)

Item = TypeVar("Item")


class SqlDatabase:
    """The connections that the sections of a SQL store share."""

    def __init__(self, url: str, options: StoreOptions) -> None:
        self.dialect = dialect_of(url)
        self.target = self.dialect.target
        self._options = options
        self._engine: AsyncEngine | None = None
        self._turn = asyncio.Lock()

    async def start(self) -> None:
        if self._engine is None:
            await connect_patiently(
                self._open, target=self.target, timeout=self._options.connect_timeout, hint=self.dialect.HINT
            )

    async def _open(self) -> None:
        # A driver that is cancelled while it connects would leave sockets open.
        self._engine = await taken(self._prepared(), AsyncEngine.dispose)

    async def _prepared(self) -> AsyncEngine:
        """Return an engine of a database that has all our tables."""
        with store_errors(self.dialect):
            engine = self.dialect.engine()
            try:
                await self.dialect.probe(engine)
                async with self._use(engine, self.dialect.READS) as connection:
                    await self.dialect.prepare(connection)
                    ready = await connection.run_sync(is_up_to_date, self.target)
                if not ready:
                    changing = self._use(engine, self.dialect.WRITES, changing_tables=True)
                    async with changing as connection, connection.begin():
                        await connection.run_sync(bring_up_to_date, self.dialect)
            except BaseException:
                await finished(engine.dispose())
                raise
        return engine

    async def close(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            await finished(engine.dispose())

    async def info(self) -> StoreInfo:
        async with self.reading() as connection:
            [[version, now]] = await connection.execute(select(self.dialect.version(), self.dialect.now()))
        kind = self.dialect.kind(self.opened())
        return StoreInfo(kind=kind, version=version, server_time=from_milliseconds(now), name=self.dialect.name)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection to read with; the database's errors are the store's."""
        with store_errors(self.dialect):
            async with self._use(self.opened(), self.dialect.READS) as connection:
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection in a transaction that writes, when it is this one's turn; errors as in `reading`."""
        with store_errors(self.dialect):
            async with self._in_turn(), self._use(self.opened(), self.dialect.WRITES) as connection, connection.begin():
                yield connection

    @asynccontextmanager
    async def _use(
        self, engine: AsyncEngine, settings: Mapping[str, Any], *, changing_tables: bool = False
    ) -> AsyncIterator[AsyncConnection]:
        """Take a connection and give it back, also while being cancelled."""
        connecting = self.dialect.connected(engine.execution_options(**settings))
        connection = await taken(connecting, AsyncConnection.close)
        try:
            async with self.dialect.answering(connection, changing_tables=changing_tables):
                yield connection
        finally:
            await finished(connection.close())

    @asynccontextmanager
    async def _in_turn(self) -> AsyncIterator[None]:
        if not self.dialect.ONE_WRITER:
            yield
            return
        try:
            async with asyncio.timeout(TURN_TIMEOUT):
                await self._turn.acquire()
        except TimeoutError:
            raise StoreUnavailable(
                f"{self.target} does not answer: those who write before this one have not ended in "
                f"{TURN_TIMEOUT:g} s: {self.dialect.HINT}"
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
        """Let those bytes leave the files; return False, and say so, if somebody reads them for too long."""
        with store_errors(self.dialect):
            async with self._in_turn(), self._use(self.opened(), {}) as connection:
                done = await self.dialect.wiped(connection)
        if not done:
            _log.warning(Action.STORE_WIPING, url=self.target)
        return done

    def too_large(self, body: str) -> StoreRejected | None:
        """Return why the database can't keep a text, if it is too large for a statement."""
        largest = self.dialect.largest
        if largest is None or len(body) * 4 <= largest or len(raw := body.encode()) <= largest:
            return None
        return StoreRejected(
            f"{self.target} can't keep {len(raw)} bytes as one: its limit is {largest}, about half of the server's "
            "max_allowed_packet"
        )

    def opened(self) -> AsyncEngine:
        """Return the engine. Raises StoreRejected unless the store is open."""
        if self._engine is None:
            raise StoreRejected(f"{self.target} is not open: call start() first")
        return self._engine


class SqlSection:
    """A section of a SQL store."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database


def later(moment: Column[int], identity: Column[str], after: Position) -> ColumnElement[bool]:
    """Return what holds for the rows after a position in a list: the latest first, then by id."""
    ended = to_milliseconds(after[0])
    # The first condition says nothing more than the others, but lets the database begin there in its index.
    return and_(moment <= ended, or_(moment < ended, and_(moment == ended, identity > after[1])))
