"""SQL servers for the tests, whichever they are: databases keep tests apart."""

import asyncio
from abc import abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from typing import Any, ClassVar
from urllib.parse import urlsplit
from uuid import uuid4

from sqlalchemy import URL, NullPool, inspect, make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from tests.services.service import Service

ANSWER_SECONDS = 2.0
"""Seconds that a server has to answer whether it is ready."""

EMPTYING_SECONDS = 300.0
"""Seconds that emptying a database may take: a test may leave 100,000 rows in it."""

USER = "agentbus"
"""Who may do everything on the servers of our own, without a password."""

KEPT = "alembic_version"
"""The table that says what the others are: as long as these stay, so does it."""


class SqlServer(Service):
    """A server of SQL databases."""

    driver: ClassVar[str]
    """What SQLAlchemy calls the database and the client that the tests reach it with."""

    @cached_property
    def _idle(self) -> list[str]:
        return []

    @property
    @abstractmethod
    def url(self) -> str:
        """The server's URL, which names no database."""

    @property
    @abstractmethod
    def maintenance(self) -> str:
        """The database that is always there, from which others are made."""

    def database_url(self, name: str) -> str:
        """Return the URL of one database."""
        return urlsplit(self.url)._replace(path=f"/{name}").geturl()

    @contextmanager
    def fresh_database(self) -> Iterator[str]:
        """Give the URL of an unused, empty database, dropped afterwards; a server left dead or paused is revived."""
        name = self._created()
        try:
            yield self.database_url(name)
        finally:
            self.start()
            self.execute(self.maintenance, self.dropping(name))

    @contextmanager
    def emptied_database(self) -> Iterator[str]:
        """Give the URL of a database whose tables, if there are any, have no rows.

        It is given again, emptied, when nobody has it any more: making a database and its tables takes 50 times as
        long. Not for a test that changes tables.
        """
        name = self._idle.pop() if self._idle else self._created()
        yield self.database_url(name)
        try:
            _apart(self._empty(name))
        except (SQLAlchemyError, OSError, TimeoutError):  # Left dead or paused, it is revived.
            self.start()
            _apart(self._empty(name))
        self._idle.append(name)

    def _created(self) -> str:
        self.start()
        name = f"agentbus_test_{uuid4().hex[:12]}"
        self.execute(self.maintenance, self.creating(name))
        return name

    async def _empty(self, name: str) -> None:
        def empty(connection: Any) -> None:
            quote = connection.dialect.identifier_preparer.quote
            for table in inspect(connection).get_table_names():
                if table != KEPT:
                    connection.execute(text(f"DELETE FROM {quote(table)}"))  # noqa: S608 - names of our own tables

        await self._connected(name, lambda connection: connection.run_sync(empty), EMPTYING_SECONDS)

    @abstractmethod
    def creating(self, name: str) -> str:
        """Return the statement that makes a database."""

    @abstractmethod
    def dropping(self, name: str) -> str:
        """Return the statement that drops a database, whoever uses it."""

    def execute(self, database: str, *statements: str) -> list[list[Any]]:
        """Execute statements, each by itself, and return the rows of each. Raises SQLAlchemyError."""
        found: list[list[Any]] = []

        async def all_of_them(connection: AsyncConnection) -> None:
            for statement in statements:
                result = await connection.execute(text(statement))
                found.append([list(row) for row in result] if result.returns_rows else [])

        _apart(self._connected(database, all_of_them))
        return found

    def answers(self) -> bool:
        """Whether it answers a client now; a paused one accepts connections and does not."""
        try:
            self.execute(self.maintenance, "SELECT 1")
        except (SQLAlchemyError, OSError, TimeoutError):
            return False
        return True

    async def _connected(self, database: str, work: Any, seconds: float = ANSWER_SECONDS * 10) -> None:
        engine = create_async_engine(self._place(database), poolclass=NullPool, isolation_level="AUTOCOMMIT")
        try:
            async with asyncio.timeout(seconds), engine.connect() as connection:
                await work(connection)
        finally:
            await engine.dispose()

    def _place(self, database: str) -> URL:
        return make_url(self.database_url(database)).set(drivername=self.driver)


def _apart(work: Any) -> None:
    """Run a coroutine in a loop of its own: the caller's thread may be running one."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()
