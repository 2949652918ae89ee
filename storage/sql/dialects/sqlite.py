"""What is particular to SQLite: its URL, its pragmas, how its transactions begin, and what its errors mean."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Lock
from typing import Any, Final, Generic, cast

from sqlalchemy import (
    URL,
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Engine,
    Insert,
    Table,
    create_engine,
    event,
    exists,
    func,
    literal,
    literal_column,
    make_url,
)
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.exc import ArgumentError, IntegrityError

from agentbus.contracts.errors import ConfigurationError, StoreRejected, StoreUnavailable
from agentbus.storage import private
from agentbus.storage.cancelling import seen_off
from agentbus.storage.paging import to_milliseconds
from agentbus.storage.port import Capabilities, Deleted, Lists, Reach, Together
from agentbus.storage.sql.dialects.conflicts import on_conflict
from agentbus.storage.sql.dialects.port import Answer, Batch, Connections, Dialect, Trouble, Values, Work

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

BUSY_MILLISECONDS: Final = 5000
"""For how long a transaction waits for other programs."""

PRAGMAS: Final = (
    f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}",
    "PRAGMA journal_mode = WAL",
    # FULL: what was reported done is on the disk, also after a power cut. One sync per transaction.
    "PRAGMA synchronous = FULL",
    # What is deleted or replaced is overwritten: what was erased must not be found in the file.
    "PRAGMA secure_delete = ON",
)

WIPE: Final = "PRAGMA wal_checkpoint(TRUNCATE)"
"""Brings what was written into the file, and empties the write-ahead log, which holds the pages as they were before."""


THREADS: Final = 5
"""How much is done at a time: one writes, and the others read."""

TURN_TIMEOUT = 10.0
"""Seconds that a transaction waits for those before it in this process. Then it waits for other programs, for the busy
timeout: so that a call which can't write ends after 15 s, however many wait."""

_POOL_TIMEOUT: Final = 10.0

_OF_ONE_WRITER: Final = 1 << 32
"""What SQLite counts to."""

_BY_NAME: Final = SQLiteDialect_pysqlite(paramstyle="named")
"""Writes statements whose parameters are named as the columns are."""

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
    sqlite3.SQLITE_FULL: "make room on its disk",
    sqlite3.SQLITE_CANTOPEN: "check that its folder exists and that this user may write there",
    sqlite3.SQLITE_READONLY: "give this user the right to write the file and its folder",
    sqlite3.SQLITE_PERM: "give this user the right to write the file and its folder",
    sqlite3.SQLITE_NOTADB: "the file is something else than a SQLite database: choose another path",
    sqlite3.SQLITE_CORRUPT: "the file is damaged: restore it from a backup",
}
"""What to do about the errors of SQLite that an operator can cure."""


class Sqlite(Dialect):
    """SQLite, in a file of this machine. Its clock is this machine's."""

    HINT = "does another program hold a lock on it?"
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
        self._url = parsed.set(drivername="sqlite")
        self.target = f"SQLite file {parsed.database}"

    def connections(self) -> "FileConnections":
        return FileConnections(self._url, self.target, self.HINT)

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
            return Trouble.PASSES, _ADVICE.get(primary, "")
        return Trouble.REFUSED, _ADVICE.get(primary, "the database refuses the operation")


class _Doing(Generic[Answer]):
    """Something that is being done in a thread, and whoever waits for its end on an event loop.

    A future of the executor would be waited for by three turns of the loop, this is by two.
    """

    def __init__(self, do: Callable[[Event], Answer]) -> None:
        self._do = do
        self._loop = asyncio.get_running_loop()
        self._stopped = Event()
        self._waiting: asyncio.Future[None] = self._loop.create_future()
        self._answers: list[Answer] = []
        self._error: BaseException | None = None
        self._over = False

    def run(self) -> None:
        """Do it, in the thread."""
        try:
            self._answers.append(self._do(self._stopped))
        except BaseException as error:
            self._error = error
        self._over = True
        with suppress(RuntimeError):  # The loop is closed: nobody waits.
            self._loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        if not self._waiting.done():
            self._waiting.set_result(None)

    async def end(self) -> Answer:
        """Wait for its end, also while being cancelled: then it is told to stop."""
        try:
            await self._waiting
        except asyncio.CancelledError:
            self._stopped.set()
            if not self._over:
                self._waiting = self._loop.create_future()
                await seen_off(self._waiting)
            raise
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # which would hold itself, by its traceback
        return self._answers[0]


class FileConnections(Connections):
    """Connections to a file, in threads: from its first statement to its last a piece of work stays in one of them.

    To go to a thread and back costs more than most of the statements.
    """

    def __init__(self, url: URL, target: str, hint: str) -> None:
        self._target = target
        self._hint = hint
        # What a statement carries is people's texts: not for the errors.
        self._engine = create_engine(
            url, pool_size=THREADS, max_overflow=0, pool_timeout=_POOL_TIMEOUT, hide_parameters=True
        )
        event.listen(self._engine, "connect", _on_connect)
        # All that is written here goes by one connection: it tells what others wrote from what we did.
        self._writing = create_engine(
            url, pool_size=1, max_overflow=0, pool_timeout=_POOL_TIMEOUT, hide_parameters=True
        )
        event.listen(self._writing, "connect", _on_connect)
        event.listen(self._writing, "connect", self._on_writer)
        event.listen(self._writing, "close", self._on_writer_closed)
        event.listen(self._writing, "begin", _on_begin)
        self._writer: sqlite3.Connection | None = None
        self._in_use = Lock()
        self._writers = 0  # each counts others' writes for itself
        self._texts: dict[Insert, str] = {}
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="sqlite")
        self._room = asyncio.Semaphore(THREADS)
        self._turn = asyncio.Lock()

    @property
    def engine(self) -> Engine:
        return self._engine

    @property
    def written(self) -> bool:
        """Whether something is being written."""
        return self._turn.locked()

    async def open(self) -> None:
        await self._in_thread(lambda _: probe(self._engine))

    async def read(self, work: Work[Answer]) -> Answer:
        def do(_: Event) -> Answer:
            with self._engine.connect() as connection:
                return work(connection)

        return await self._in_thread(do)

    async def write(self, work: Work[Answer], *, changing_tables: bool = False) -> Answer:  # noqa: ARG002 - it is as fast
        def do(stopped: Event) -> Answer:
            with (
                self._alone(),
                self._writing.connect() as connection,
                _patient(_raw(connection.connection)),
                connection.begin(),
            ):
                _go_on(stopped)
                self.wrote_after = self._others_writes()
                answer = work(connection)
                _go_on(stopped)
                return answer

        async with self._in_turn():
            return await self._in_thread(do)

    async def put(self, batches: Sequence[Batch]) -> None:
        # By the driver itself: what SQLAlchemy does for a statement costs twice as much as SQLite's part.
        prepared = [(self._text_of(statement), rows) for statement, rows in batches]

        def do(stopped: Event) -> None:
            with self._alone():
                # To have the pool give it and take it back each time costs half of what SQLite does.
                self._put(self._writer or self._made_writer(), prepared, stopped)

        async with self._in_turn():
            await self._in_thread(do)

    def _put(self, raw: sqlite3.Connection, prepared: Sequence[tuple[str, Sequence[Any]]], stopped: Event) -> None:
        with _patient(raw):
            if raw.in_transaction:
                raw.rollback()  # One before this could not undo its own.
            raw.execute("BEGIN IMMEDIATE")
            try:
                _go_on(stopped)
                self.wrote_after = self._others_writes()
                for text, rows in prepared:
                    raw.executemany(text, rows)
                _go_on(stopped)
                raw.execute("COMMIT")
            except sqlite3.IntegrityError as error:
                raw.rollback()
                raise IntegrityError(None, None, error) from error  # as SQLAlchemy says it
            except BaseException:
                raw.rollback()
                raise

    def _made_writer(self) -> sqlite3.Connection:
        with closing(self._writing.raw_connection()) as made:
            return _raw(made)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Have the connection that writes, in a thread: who was cancelled twice gave up the turn before its end."""
        if not self._in_use.acquire(timeout=_POOL_TIMEOUT):
            raise self._silent("somebody has been writing for", _POOL_TIMEOUT)
        try:
            yield
        finally:
            self._in_use.release()

    def _text_of(self, statement: Insert) -> str:
        """Return a statement as the driver takes it."""
        text = self._texts.get(statement)
        if text is None:
            text = self._texts[statement] = str(statement.compile(dialect=_BY_NAME))
        return text

    def others_writes(self) -> int | None:
        # While somebody writes here its connection is in use, and to wait for it would keep everybody waiting.
        if self._writer is None or self._turn.locked() or self._in_use.locked():
            return None
        return self._others_writes()

    def _others_writes(self) -> int | None:
        """Ask the connection that writes, by whoever may use it now."""
        if self._writer is None:
            return None
        try:
            [number] = self._writer.execute("PRAGMA data_version").fetchone()
        except sqlite3.Error:
            return None
        return self._writers * _OF_ONE_WRITER + int(number)

    def _on_writer(self, connection: Any, _record: object) -> None:
        self._writer = connection
        self._writers += 1

    def _on_writer_closed(self, connection: Any, _record: object) -> None:
        if self._writer is connection:
            self._writer = None

    async def wiped(self) -> bool:
        """Empty the write-ahead log; return False if somebody reads older pages for too long."""

        def do(_: Event) -> bool:
            with self._engine.connect() as connection:
                return not connection.exec_driver_sql(WIPE).one().busy

        async with self._in_turn():
            return await self._in_thread(do)

    async def close(self) -> None:
        # What is under way has an end: its connection is closed with the others.
        with suppress(TimeoutError):
            async with asyncio.timeout(_POOL_TIMEOUT):
                for _ in range(THREADS):
                    await self._room.acquire()
        try:
            for dispose in (self._dispose_writing, self._engine.dispose):
                await asyncio.get_running_loop().run_in_executor(self._threads, dispose)
        finally:
            self._threads.shutdown(wait=False)

    def _dispose_writing(self) -> None:
        with suppress(StoreUnavailable), self._alone():  # Who can't be waited for ends with the process.
            self._writer = None
            self._writing.dispose()

    async def _in_thread(self, do: Callable[[Event], Answer]) -> Answer:
        """Do something in a thread. Cancelled, it is told so, and its end is waited for: nothing is written later.

        Unless it takes longer than a cancelled call stays: then it ends alone, having been told.
        """
        try:
            await _within(_POOL_TIMEOUT, self._room)
        except TimeoutError:
            raise self._silent("all its connections have been in use for", _POOL_TIMEOUT) from None
        try:
            doing = _Doing(do)
            self._threads.submit(doing.run)
            return await doing.end()
        finally:
            self._room.release()

    @asynccontextmanager
    async def _in_turn(self) -> AsyncIterator[None]:
        try:
            await _within(TURN_TIMEOUT, self._turn)
        except TimeoutError:
            raise self._silent("those who write before this one have not ended in", TURN_TIMEOUT) from None
        try:
            yield
        finally:
            self._turn.release()

    def _silent(self, why: str, seconds: float) -> StoreUnavailable:
        return StoreUnavailable(f"{self._target} does not answer: {why} {seconds:g} s: {self._hint}")


def _raw(connection: Any) -> sqlite3.Connection:
    """Return the driver's connection behind one of SQLAlchemy's, or of its pool's."""
    return cast("sqlite3.Connection", connection.dbapi_connection)


@contextmanager
def _patient(raw: sqlite3.Connection) -> Iterator[None]:
    """Let a connection wait for other programs meanwhile. Else it doesn't: the event loop asks it what others wrote."""
    raw.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}").close()
    try:
        yield
    finally:
        raw.execute("PRAGMA busy_timeout = 0").close()


async def _within(seconds: float, taken: asyncio.Lock | asyncio.Semaphore) -> None:
    """Take what others may have. Raises TimeoutError."""
    if not taken.locked():
        await taken.acquire()  # at once: a deadline would cost more than all the rest
        return
    async with asyncio.timeout(seconds):
        await taken.acquire()


def _go_on(stopped: Event) -> None:
    """Undo the transaction of a call that was cancelled."""
    if stopped.is_set():
        raise InterruptedError("the call was cancelled")


def _check_url(url: URL) -> None:
    """Raise ConfigurationError if `url` names no file, or a host."""
    if url.host:
        raise ConfigurationError(
            f"sqlite://{url.host}/... names a host: write sqlite:///relative.db or sqlite:////absolute/path.db"
        )
    if not url.database or url.database == ":memory:":
        raise ConfigurationError("a SQLite URL needs a file: sqlite:///relative.db; to keep nothing, use memory://")


def probe(engine: Engine) -> None:
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
        connection.text_factory = _text
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
    connection.exec_driver_sql("BEGIN IMMEDIATE")
