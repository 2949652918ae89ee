"""What is particular to PostgreSQL, 13 or later, reached through asyncpg."""

import asyncio
from typing import Any, Final

import asyncpg  # type: ignore[import-untyped]  # asyncpg ships no types
from sqlalchemy import URL, BigInteger, Column, ColumnElement, Connection, Insert, Table, cast, literal_column, text
from sqlalchemy.dialects.postgresql import JSONB, insert

from agentbus.contracts.errors import StoreRejected
from agentbus.storage.port import Capabilities, Lists, Reach, Together
from agentbus.storage.sql.dialects.conflicts import on_conflict
from agentbus.storage.sql.dialects.port import Trouble, Values
from agentbus.storage.sql.dialects.servers import (
    ANSWER_SECONDS,
    BEGUN_SECONDS,
    CHANGE_SECONDS,
    CONNECT_SECONDS,
    LOCK_SECONDS,
    ServerConnections,
    ServerDialect,
)

SETTINGS: Final = {
    # What a client that died had begun ends by itself, and with it the locks.
    "statement_timeout": f"{ANSWER_SECONDS:g}s",
    "lock_timeout": f"{LOCK_SECONDS}s",
    "idle_in_transaction_session_timeout": f"{BEGUN_SECONDS}s",
    # What was reported done survives a crash of the server, whatever its default.
    "synchronous_commit": "on",
}
"""What each connection tells the server; once it is there, as PgBouncer takes no such parameters at its start."""

_READ_ONLY: Final = "25006"  # read_only_sql_transaction: this one is not the primary any more
_PASSING_CLASSES: Final = frozenset(
    {
        "08",  # connection exceptions
        "53",  # insufficient resources: no room on the disk, too many connections
        "57",  # operator intervention: the server shuts down or starts, a statement took too long
        "58",  # errors of the system it runs on
    }
)
_PASSING: Final = frozenset(
    {
        _READ_ONLY,
        "25P03",  # idle_in_transaction_session_timeout
        "55P03",  # lock_not_available
        "55006",  # object_in_use
    }
)
_COLLIDED: Final = frozenset({"40001", "40P01"})  # serialization_failure, deadlock_detected

_ADVICE: Final = {
    "53100": "make room on its disk",
    "28P01": "check user and password in the URL",
    "28000": "check user and password in the URL, and the server's pg_hba.conf",
    "3D000": "make the database first: CREATE DATABASE",
    "42501": "give the user the rights to use this database and to make tables in its schema",
}
"""What to do about the errors that an operator can cure, by their SQLSTATE."""

_NEVER_SENT: Final = (asyncpg.DataError, asyncpg.UnsupportedClientFeatureError, asyncpg.UnsupportedServerFeatureError)
"""What the driver refuses by itself, such as a number of more than 64 bits: again each time."""

_BY_DRIVER: Final = (asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What the driver says by itself. The second comes of a connection that is lost just as the driver turns to another
statement."""

_SCHEMA_LOCK: Final = 0x6167656E74627573
"""The number of the lock on the tables' definitions: any that no other program is likely to use."""


class PostgreSQL(ServerDialect):
    """PostgreSQL."""

    NAMES = "PostgreSQL"
    HINT = "is PostgreSQL running, and are host and port right?"
    READS = {"isolation_level": "AUTOCOMMIT"}
    CAPABILITIES = Capabilities(
        reach=Reach.NETWORK, is_durable=True, together=Together.BATCH, largest_commit="1 GiB", lists=Lists.INDEXES
    )
    ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)

    def __init__(self, url: str) -> None:
        super().__init__(url)
        # asyncpg reads the URL by itself, as PostgreSQL's own programs do: sslmode, several hosts and so on.
        self._dsn = f"postgresql://{url.partition('://')[2]}"

    def connections(self) -> ServerConnections:
        engine = self.engine_at(
            URL.create("postgresql+asyncpg"), async_creator=self._connect, isolation_level="READ COMMITTED"
        )
        return ServerConnections(self, engine)

    async def _connect(self) -> Any:
        async with asyncio.timeout(CONNECT_SECONDS):
            try:
                connection = await asyncpg.connect(self._dsn, server_settings={"application_name": "agentbus"})
            except (asyncpg.ClientConfigurationError, ValueError):
                # Not the driver's words, nor the error itself: they may quote a part of the password.
                raise StoreRejected(
                    f"the PostgreSQL URL {self.target} can't be used: check host, port and options"
                ) from None
            try:
                await connection.execute("".join(f"SET {name} = '{value}';" for name, value in SETTINGS.items()))
            except BaseException:
                connection.terminate()
                raise
        return connection

    def lock_schema(self, connection: Connection) -> None:
        connection.execute(text(f"SET LOCAL statement_timeout = '{CHANGE_SECONDS:g}s'"))
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})"))

    def version(self) -> ColumnElement[str]:
        return literal_column("current_setting('server_version')")

    def now(self) -> ColumnElement[int]:
        return literal_column("CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS BIGINT)", BigInteger)

    def has_item(self, texts: Column[Any], item: str) -> ColumnElement[bool]:
        found: ColumnElement[bool] = cast(texts, JSONB).has_key(item)
        return found

    def upsert(self, table: Table, values: Values, *, newer: str | None = None) -> Insert:
        return on_conflict(insert(table), table, values, newer)

    def said_by_server(self, cause: BaseException) -> tuple[Trouble, str] | None:
        state = getattr(cause, "sqlstate", None) or ""
        if state in _COLLIDED:
            return Trouble.COLLIDED, ""
        if state in _PASSING or state[:2] in _PASSING_CLASSES:
            return Trouble.PASSES, _ADVICE.get(state, "")
        if state:
            return Trouble.REFUSED, _ADVICE.get(state, "")
        if _is_lost(cause):
            return Trouble.PASSES, ""
        if isinstance(_of_driver(cause), _NEVER_SENT):
            return Trouble.REFUSED, ""
        return None

    def is_of_no_use(self, cause: BaseException) -> bool:
        return getattr(cause, "sqlstate", None) == _READ_ONLY or _is_lost(cause)


def _is_lost(cause: BaseException) -> bool:
    """Return whether the connection was lost, or is being closed."""
    error = _of_driver(cause)
    return isinstance(error, _BY_DRIVER) and not isinstance(error, _NEVER_SENT)


def _of_driver(cause: BaseException) -> BaseException | None:
    """Return the driver's own error, which SQLAlchemy wraps."""
    return cause if isinstance(cause, _BY_DRIVER) else cause.__cause__
