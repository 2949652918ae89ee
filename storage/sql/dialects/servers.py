"""What databases on a server do alike: connections in a pool, and an end to every wait for an answer."""

import asyncio
import ssl
import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Final

from sqlalchemy import URL, Connection, Engine, ExceptionContext, event, make_url
from sqlalchemy.exc import ArgumentError, DisconnectionError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from agentbus.contracts.errors import ConfigurationError
from agentbus.contracts.urls import check_credentials, masked
from agentbus.storage.cancelling import finished, taken
from agentbus.storage.sql.dialects.port import Answer, Connections, Dialect, Trouble, Work

CONNECT_SECONDS: Final = 3.0
"""Within this time a connection is there, or the server is not."""

ANSWER_SECONDS: Final = 10.0
"""Seconds that a statement waits for its answer. Then its connection is closed: what became of it is not known."""

CHANGE_SECONDS: Final = 600.0
"""Seconds for a statement that changes tables: those of a large store are built anew."""

LOCK_SECONDS: Final = 5
"""Seconds that the server lets a statement wait for others' transactions."""

BEGUN_SECONDS: Final = 15
"""Seconds that the server keeps a transaction, with its locks, whose client asks for nothing."""

IDLE_SECONDS: Final = 30.0
"""A connection that nobody used for longer is tried first: a firewall or a restart may have ended it."""

CONNECTION_SECONDS: Final = 15.0
"""Seconds until there is a connection: until others give one back, or one is made or tried."""

POOL: Final[dict[str, Any]] = {"pool_size": 5, "max_overflow": 5, "pool_timeout": ANSWER_SECONDS}
"""Connections of one process. Those that come when all are in use wait for one."""

_LIMIT: Final = "agentbus_limit"
_GIVEN_BACK: Final = "agentbus_given_back"


class ServerConnections(Connections):
    """Connections to a server. Each statement is answered in time, or fails."""

    def __init__(self, dialect: "ServerDialect", engine: AsyncEngine) -> None:
        self._dialect = dialect
        self._engine = engine

    @property
    def engine(self) -> Engine:
        return self._engine.sync_engine

    async def read(self, work: Work[Answer]) -> Answer:
        async with self.reading() as connection:
            return await connection.run_sync(work)

    async def write(self, work: Work[Answer], *, changing_tables: bool = False) -> Answer:
        async with self.writing(changing_tables=changing_tables) as connection:
            return await connection.run_sync(work)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection to read with."""
        async with self._use(self._dialect.READS) as connection:
            yield connection

    @asynccontextmanager
    async def writing(self, *, changing_tables: bool = False) -> AsyncIterator[AsyncConnection]:
        """Give a connection in a transaction."""
        async with self._use(self._dialect.WRITES, changing_tables=changing_tables) as connection, connection.begin():
            yield connection

    async def close(self) -> None:
        await finished(self._engine.dispose())

    @asynccontextmanager
    async def _use(
        self, settings: Mapping[str, Any], *, changing_tables: bool = False
    ) -> AsyncIterator[AsyncConnection]:
        """Take a connection and give it back, also while being cancelled."""
        connection = await taken(self._connected(self._engine.execution_options(**settings)), AsyncConnection.close)
        try:
            seconds = CHANGE_SECONDS if changing_tables else self._dialect.answer_seconds
            async with asyncio.timeout(seconds) as limit:
                info = (await connection.get_raw_connection()).info
                info[_LIMIT] = limit, seconds
                try:
                    yield connection
                finally:
                    info.pop(_LIMIT, None)
        finally:
            await finished(connection.close())

    @staticmethod
    async def _connected(engine: AsyncEngine) -> AsyncConnection:
        async with asyncio.timeout(CONNECTION_SECONDS):
            return await engine.connect().start()


class ServerDialect(Dialect):
    """A database on a server."""

    NAMES: ClassVar[str]
    """What the database is called where a person reads it."""

    READS: ClassVar[Mapping[str, Any]] = {}
    """Execution options of a connection that is going to read: each statement by itself."""

    WRITES: ClassVar[Mapping[str, Any]] = {}
    """Execution options of a connection that is going to write, in a transaction."""

    answer_seconds: float = ANSWER_SECONDS

    def __init__(self, url: str) -> None:
        check_credentials(url)
        self.target = masked(url)
        try:
            self._url = make_url(url)
        except (ArgumentError, ValueError):
            raise ConfigurationError(
                f"the {self.NAMES} URL {self.target} can't be read: it is like {url.partition('://')[0]}"
                "://user:password@host:port/database"
            ) from None
        if not self._url.host or not self._url.database:
            raise ConfigurationError(
                f"{self.target} has to name a host and a database: {self._url.drivername}://host:port/database"
            )
        self.name = self._url.database

    @abstractmethod
    def connections(self) -> ServerConnections: ...

    def engine_at(self, url: URL, **settings: Any) -> AsyncEngine:
        """Return an engine whose statements, and those that wait for a connection, have an end."""
        # What a statement carries is people's texts: not for the errors.
        engine = create_async_engine(url, hide_parameters=True, **POOL, **settings)
        event.listen(engine.sync_engine, "before_cursor_execute", _begin_waiting)
        event.listen(engine.sync_engine, "commit", _begin_waiting)
        event.listen(engine.sync_engine, "handle_error", self._on_error)
        event.listen(engine.sync_engine.pool, "checkin", _given_back)
        event.listen(engine.sync_engine.pool, "checkout", _trying(engine))
        return engine

    def meaning(self, cause: BaseException) -> tuple[Trouble, str] | None:
        if _is_untrusted(cause):
            return Trouble.REFUSED, "name the authority that signed its certificate in the URL's options"
        return self.said_by_server(cause)

    @abstractmethod
    def said_by_server(self, cause: BaseException) -> tuple[Trouble, str] | None:
        """Return what an error means by the code that the server gave it."""

    @abstractmethod
    def is_of_no_use(self, cause: BaseException) -> bool:
        """Return whether the connection is no more to be used, by an error on it.

        It was lost, or the server takes no writes: another one may have taken its place.
        """

    def _on_error(self, context: ExceptionContext) -> None:
        # Connections to a server that only reads stay as good as ever: only anew is its successor found, at the same
        # address or at another.
        if self.is_of_no_use(context.original_exception):
            context.is_disconnect = True

    async def call(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        # A driver that is cancelled halfway leaves its connection to the server, which keeps the locks of its
        # transaction as long as it waits for others. So a call that is cancelled is finished: it has an end anyway.
        return await finished(work)


def _is_untrusted(cause: BaseException | None) -> bool:
    """Return whether a server's certificate was refused: drivers wrap that in the error of a lost connection."""
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _begin_waiting(connection: Connection, *_: object) -> None:
    if waiting := connection.info.get(_LIMIT):
        limit, seconds = waiting
        if not limit.expired():
            limit.reschedule(asyncio.get_running_loop().time() + seconds)


def _given_back(_connection: object, record: Any) -> None:
    record.info[_GIVEN_BACK] = time.monotonic()


def _trying(engine: AsyncEngine) -> Callable[..., None]:
    def try_it(connection: Any, record: Any, _proxy: object) -> None:
        if time.monotonic() - record.info.get(_GIVEN_BACK, time.monotonic()) < IDLE_SECONDS:
            return
        try:
            engine.dialect.do_ping(connection)
        except Exception as error:
            raise DisconnectionError("the connection was closed while nobody used it") from error

    return try_it
