"""Connecting to a SQL database, and the transactions that the sections of the store run in."""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from sqlalchemy import Column, ColumnElement, Row, Select, and_, or_, select

from agentbus.contracts.errors import StoreRejected, StoreUnavailable
from agentbus.contracts.telemetry import Action
from agentbus.storage.cancelling import finished, taken
from agentbus.storage.connecting import connect_patiently
from agentbus.storage.damage import enough
from agentbus.storage.log_lines import Logger
from agentbus.storage.paging import Position, from_milliseconds, to_milliseconds
from agentbus.storage.port import StoreInfo, StoreOptions
from agentbus.storage.sql.dialects import dialect_of
from agentbus.storage.sql.dialects.port import Answer, Batch, Connections, Work, all_given
from agentbus.storage.sql.errors import store_errors
from agentbus.storage.sql.known import KnownHeads
from agentbus.storage.sql.revisions import bring_up_to_date, is_up_to_date
from agentbus.storage.sql.schema import heads

CHUNK: Final = 200
"""How many conversations, keys or ids one statement asks for: far below every database's limits."""

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
        self._connections: Connections | None = None
        self.known = KnownHeads()
        self.saves_heads = self.dialect.upsert(heads, all_given(heads), newer="version")
        """Writes heads in place of older ones; made once, as it takes longer than to be carried out."""

    async def start(self) -> None:
        if self._connections is None:
            await connect_patiently(
                self._open, target=self.target, timeout=self._options.connect_timeout, hint=self.dialect.HINT
            )

    async def _open(self) -> None:
        # A driver that is cancelled while it connects would leave sockets open.
        self._connections = await taken(self._prepared(), lambda prepared: prepared.close())

    async def _prepared(self) -> Connections:
        """Return connections to a database that has all our tables."""
        with store_errors(self.dialect):
            connections = self.dialect.connections()
            try:
                await connections.open()
                await connections.read(self.dialect.prepare)
                if not await connections.read(lambda connection: is_up_to_date(connection, self.target)):
                    await connections.write(
                        lambda connection: bring_up_to_date(connection, self.dialect), changing_tables=True
                    )
            except BaseException:
                await finished(connections.close())
                raise
        return connections

    async def close(self) -> None:
        connections, self._connections = self._connections, None
        if connections is not None:
            await finished(connections.close())

    async def info(self) -> StoreInfo:
        asked = select(self.dialect.version(), self.dialect.now())
        version, now = await self.read(lambda connection: connection.execute(asked).one())
        kind = self.dialect.kind(self.opened().engine)
        return StoreInfo(kind=kind, version=version, server_time=from_milliseconds(now), name=self.dialect.name)

    async def read(self, work: Work[Answer]) -> Answer:
        """Do what only reads; the database's errors are the store's."""
        with store_errors(self.dialect):
            return await self.opened().read(work)

    async def write(self, work: Work[Answer]) -> Answer:
        """Do something in a transaction that writes, when it is this one's turn; errors as in `read`."""
        with store_errors(self.dialect):
            return await self.opened().write(work)

    async def put(self, batches: Sequence[Batch]) -> None:
        """Put rows into tables in a transaction, when it is this one's turn; errors as in `read`."""
        with store_errors(self.dialect):
            await self.opened().put(batches)

    async def rows(self, query: Select[Any], **parameters: Any) -> Sequence[Any]:
        """Return what a query finds."""
        return await self.read(lambda connection: connection.execute(query, parameters).all())

    async def first(self, query: Select[Any], read: Callable[[Row[Any]], Item], count: int) -> list[Item]:
        """Return the first `count` rows of `query` that can be read."""
        return await enough(lambda asked: self.rows(query.limit(asked)), read, count)

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
            done = await self.opened().wiped()
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

    def opened(self) -> Connections:
        """Return the connections. Raises StoreRejected unless the store is open."""
        if self._connections is None:
            raise StoreRejected(f"{self.target} is not open: call start() first")
        return self._connections


class SqlSection:
    """A section of a SQL store."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database


def later(moment: Column[int], identity: Column[str], after: Position) -> ColumnElement[bool]:
    """Return what holds for the rows after a position in a list: the latest first, then by id."""
    ended = to_milliseconds(after[0])
    # The first condition says nothing more than the others, but lets the database begin there in its index.
    return and_(moment <= ended, or_(moment < ended, and_(moment == ended, identity > after[1])))
