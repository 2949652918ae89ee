"""What is particular to MySQL, 8.0 or later, and MariaDB, 10.6 or later, reached through asyncmy."""

import asyncio
import json
from typing import Any, Final

import asyncmy
import cryptography  # noqa: F401 - asyncmy needs it for the passwords of MySQL 8: missing, it is missed here
from asyncmy.errors import MySQLError
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Engine,
    Insert,
    Table,
    event,
    func,
    literal_column,
    text,
)
from sqlalchemy.dialects.mysql import insert
from sqlalchemy.exc import ArgumentError

from agentbus.contracts.errors import ConfigurationError, StoreRejected, StoreUnavailable
from agentbus.storage.port import Capabilities, Lists, Reach, Together
from agentbus.storage.sql.dialects.port import Trouble, Values
from agentbus.storage.sql.dialects.servers import (
    BEGUN_SECONDS,
    CONNECT_SECONDS,
    LOCK_SECONDS,
    ServerConnections,
    ServerDialect,
)

UNUSED_SECONDS: Final = 600
"""Seconds until the server ends a connection that nobody uses. One that is used again was tried first."""

SETTINGS: Final = (
    # Each statement sees what was committed before it, and locks only what it changes.
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    # Strict: what does not fit is refused, not cut. In UTC, an hour of the autumn does not come twice.
    f"SET SESSION sql_mode = 'TRADITIONAL', time_zone = '+00:00', innodb_lock_wait_timeout = {LOCK_SECONDS}",
    # What a client that died had begun ends by itself, and with it the locks. Only MariaDB tells idle transactions from
    # idle connections; to MySQL this is a comment.
    f"SET SESSION wait_timeout = {UNUSED_SECONDS} /*M! , idle_transaction_timeout = {BEGUN_SECONDS} */",
)
"""What each connection tells the server."""

OPTIONS: Final = {"charset": "utf8mb4", "binary_prefix": True, "autocommit": True, "program_name": "agentbus"}
"""What the driver is told unless the URL says otherwise."""

SMALLEST_PACKET: Final = 4 * 1024 * 1024
"""The least that the server's max_allowed_packet has to be."""

_PASSING: Final = frozenset(
    {
        0,  # the client lost its connection
        1021,  # ER_DISK_FULL
        1040,  # ER_CON_COUNT_ERROR: too many connections
        1053,  # ER_SERVER_SHUTDOWN
        1077,  # ER_NORMAL_SHUTDOWN
        1114,  # ER_RECORD_FILE_FULL
        1129,  # ER_HOST_IS_BLOCKED, until the server's caches are flushed
        1158,  # ER_NET_READ_ERROR
        1159,  # ER_NET_READ_INTERRUPTED
        1160,  # ER_NET_ERROR_ON_WRITE
        1161,  # ER_NET_WRITE_INTERRUPTED
        1203,  # ER_TOO_MANY_USER_CONNECTIONS
        1205,  # ER_LOCK_WAIT_TIMEOUT
        1317,  # ER_QUERY_INTERRUPTED
        1927,  # ER_CONNECTION_KILLED
        1969,  # ER_STATEMENT_TIMEOUT
        2002,  # CR_CONNECTION_ERROR
        2003,  # CR_CONN_HOST_ERROR
        2006,  # CR_SERVER_GONE_ERROR
        2013,  # CR_SERVER_LOST
        2014,  # CR_COMMANDS_OUT_OF_SYNC
        2055,  # CR_SERVER_LOST_EXTENDED
        3024,  # ER_QUERY_TIMEOUT
        4031,  # ER_CLIENT_INTERACTION_TIMEOUT
    }
)
_READ_ONLY: Final = frozenset(
    {
        1290,  # ER_OPTION_PREVENTS_STATEMENT
        1792,  # ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION
        1836,  # ER_READ_ONLY_MODE
    }
)
"""This one is not the primary any more."""

_COLLIDED: Final = frozenset(
    {
        1020,  # ER_CHECKREAD: somebody changed the row since it was read
        1213,  # ER_LOCK_DEADLOCK
        1305,  # ER_SP_DOES_NOT_EXIST: the savepoint is gone, as a deadlock undid the whole transaction
    }
)

_ADVICE: Final = {
    1044: "give the user all rights on this database: GRANT ALL ON database.* TO user",  # ER_DBACCESS_DENIED_ERROR
    1045: "check user and password in the URL",  # ER_ACCESS_DENIED_ERROR
    1049: "make the database first: CREATE DATABASE",  # ER_BAD_DB_ERROR
    1130: "let this host in: CREATE USER user@host",  # ER_HOST_NOT_PRIVILEGED
    1142: "give the user all rights on this database: GRANT ALL ON database.* TO user",  # ER_TABLEACCESS_DENIED_ERROR
    1153: "raise the server's max_allowed_packet",  # ER_NET_PACKET_TOO_LARGE
    1698: "check user and password in the URL",  # ER_ACCESS_DENIED_NO_PASSWORD_ERROR
}
"""What to do about the refusals that retrying does not cure."""


_SCHEMA_LOCK: Final = "CONCAT('agentbus.', MD5(DATABASE()))"
"""The name of the lock on the tables' definitions, which all databases of a server share."""


class MySQL(ServerDialect):
    """MySQL and MariaDB."""

    NAMES = "MySQL"
    HINT = "is the server running, and are host and port right?"
    WRITES = {"agentbus_writes": True}
    ERRORS = (MySQLError,)
    # A statement with all that it carries has to fit into a packet, 16 MiB by default; a byte may take two there.
    PIECE = 1024 * 1024
    CAPABILITIES = Capabilities(
        reach=Reach.NETWORK,
        is_durable=True,
        together=Together.BATCH,
        largest_commit="half of max_allowed_packet",
        lists=Lists.INDEXES,
    )

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._url = self._url.set(drivername="mysql+asyncmy")
        try:
            _, self._settings = self._url.get_dialect()().create_connect_args(self._url)
        except (TypeError, ValueError, ArgumentError):
            raise ConfigurationError(f"the options of {self.target} can't be used: check their values") from None

    def connections(self) -> ServerConnections:
        # A statement that reads is a transaction by itself; where one is begun, it is ended as well. So there is
        # nothing to be undone when a connection is given back, and each of these is a way to the server and back.
        engine = self.engine_at(
            self._url, async_creator=self._connect, isolation_level="AUTOCOMMIT", pool_reset_on_return=None
        )
        event.listen(engine.sync_engine, "begin", _begin)
        return ServerConnections(self, engine)

    async def _connect(self) -> Any:
        async with asyncio.timeout(CONNECT_SECONDS):
            try:
                connection = await asyncmy.connect(**{**OPTIONS, **self._settings})
            except TypeError:
                raise StoreRejected(f"{self.target} has an option that the driver does not know") from None
            try:
                for statement in SETTINGS:
                    await connection.query(statement)  # type: ignore[no-untyped-call]  # the driver's own
            except BaseException:
                connection.close()
                raise
        return connection

    def prepare(self, connection: Connection) -> None:
        packet = connection.scalar(text("SELECT @@max_allowed_packet"))
        if packet < SMALLEST_PACKET:
            raise StoreRejected(
                f"{self.target} takes statements of up to {packet} bytes: set the server's max_allowed_packet to "
                f"{4 * SMALLEST_PACKET}"
            )
        self.largest = packet // 2 - 64 * 1024

    def lock_schema(self, connection: Connection) -> None:
        # What changes tables commits by itself here: so the lock is the connection's, not the transaction's.
        found = connection.scalar(
            text("SELECT GET_LOCK(CONCAT('agentbus.', MD5(DATABASE())), :seconds)"), {"seconds": LOCK_SECONDS}
        )
        if found != 1:
            raise StoreUnavailable(f"{self.target}: another process has been making its tables for {LOCK_SECONDS} s")

    def unlock_schema(self, connection: Connection) -> None:
        connection.scalar(text(f"SELECT RELEASE_LOCK({_SCHEMA_LOCK})"))

    def kind(self, engine: Engine) -> str:
        return "mariadb" if getattr(engine.dialect, "is_mariadb", False) else "mysql"

    def version(self) -> ColumnElement[str]:
        return literal_column("VERSION()")

    def now(self) -> ColumnElement[int]:
        return literal_column("CAST(FLOOR(UNIX_TIMESTAMP(NOW(6)) * 1000) AS SIGNED)", BigInteger)

    def has_item(self, texts: Column[Any], item: str) -> ColumnElement[bool]:
        return func.json_contains(texts, json.dumps(item)) == 1

    def upsert(self, table: Table, values: Values, *, newer: str | None = None) -> Insert:
        statement = insert(table)
        given = statement.inserted
        changed = dict(values(given))
        if newer is not None:
            # One after the other: the column that decides is the last to change.
            decides = table.c[newer] <= given[newer]
            order = sorted(changed, key=lambda name: name == newer)
            changed = {name: func.IF(decides, changed[name], table.c[name]) for name in order}
        return statement.on_duplicate_key_update(list(changed.items()))

    def said_by_server(self, cause: BaseException) -> tuple[Trouble, str] | None:
        code = _code(cause)
        if code is None:
            return None
        if code in _COLLIDED:
            return Trouble.COLLIDED, ""
        if code in _PASSING or code in _READ_ONLY:
            return Trouble.PASSES, ""
        return Trouble.REFUSED, _ADVICE.get(code, "")

    def is_of_no_use(self, cause: BaseException) -> bool:
        return _code(cause) in _READ_ONLY


def _code(cause: BaseException) -> int | None:
    """Return the number of a server's error."""
    return cause.args[0] if cause.args and isinstance(cause.args[0], int) else None


def _begin(connection: Connection) -> None:
    if connection.get_execution_options().get("agentbus_writes"):
        connection.exec_driver_sql("START TRANSACTION")
