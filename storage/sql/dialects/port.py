"""What a SQL database has to say about itself, so that all the rest is written once."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping, Sequence
from enum import Enum
from typing import Any, ClassVar, TypeVar

from sqlalchemy import Column, ColumnElement, Connection, Engine, Insert, Table

from agentbus.storage.port import Capabilities

Answer = TypeVar("Answer")
Work = Callable[[Connection], Answer]
"""What is done with a connection."""
Values = Callable[[Any], Mapping[str, Any]]
"""Makes the values of a row that there is already, by the names of their columns, from the row that was given."""
Batch = tuple[Insert, Sequence[Mapping[str, Any]]]
"""A statement with the rows that it is carried out with: one at least, all with the same columns."""


class Trouble(Enum):
    """What an error of the database means for whoever made the call."""

    PASSES = "passes"
    """It may pass by itself, or once an operator did something: the same call may be made again."""
    COLLIDED = "collided"
    """Another transaction was in the way, and this one was undone as a whole: it is made again at once."""
    REFUSED = "refused"
    """It will be refused again."""


class Connections(ABC):
    """The connections of this process to a database. What is to be done with one is given whole, as a function.

    The function may run in another thread; it holds its connection no longer than it runs. Errors are the driver's.
    """

    wrote_after: int | None = None
    """What `others_writes` was when the last transaction that wrote here had begun, and nobody else could write."""

    @property
    @abstractmethod
    def engine(self) -> Engine:
        """What makes them."""

    async def open(self) -> None:  # noqa: B027 - one is a file
        """Find out what can be found out before there is a connection."""

    @abstractmethod
    async def read(self, work: Work[Answer]) -> Answer:
        """Do what only reads: each statement sees what was committed before it."""

    @abstractmethod
    async def write(self, work: Work[Answer], *, changing_tables: bool = False) -> Answer:
        """Do something in a transaction that writes: all of it, or nothing of it if it raises or is cancelled."""

    async def put(self, batches: Sequence[Batch]) -> None:
        """Put rows into tables, in a transaction, as `write` does. The statements are kept for as long as these are."""

        def work(connection: Connection) -> None:
            for statement, rows in batches:
                connection.execute(statement, rows)

        await self.write(work)

    def others_writes(self) -> int | None:
        """Return a number that is another one if somebody wrote by another connection than ours, without waiting.

        None: that can't be told, or not now.
        """
        return None

    async def wiped(self) -> bool:
        """Let bytes that were deleted or replaced leave the files, as far as it takes us; return whether they did."""
        return True

    @abstractmethod
    async def close(self) -> None:
        """Close all of them."""


class Dialect(ABC):
    """One kind of SQL database, at one URL. Making it raises ConfigurationError for a URL that it can't use."""

    target: str
    """How errors and logs name the database: never with a password."""

    name: str = ""
    """What the database is called on its server."""

    HINT: ClassVar[str]
    """What to ask whoever finds that the database does not answer."""

    ONE_WRITER: ClassVar[bool] = False
    """Whether the database has one writer, so that those of this process take turns."""

    PIECE: ClassVar[int | None] = None
    """Bytes of a parked input's body that a row holds; None for all of it."""

    CAPABILITIES: ClassVar[Capabilities]
    """What the store is like."""

    largest: int | None = None
    """Bytes of the largest text that a statement carries; None if no text of ours comes near."""

    ERRORS: tuple[type[Exception], ...] = ()
    """The errors of the driver that reach us as they are: those of connecting, for one."""

    @abstractmethod
    def connections(self) -> Connections:
        """Return the connections to the database; none is made yet."""

    def prepare(self, connection: Connection) -> None:  # noqa: B027 - one asks
        """Find out whether the database can be used, and how."""

    @abstractmethod
    def lock_schema(self, connection: Connection) -> None:
        """Wait until nobody else changes the tables, and keep others from it until the transaction ends."""

    def unlock_schema(self, connection: Connection) -> None:  # noqa: B027 - one database has anything to do here
        """Let others change the tables, where the end of the transaction does not."""

    def kind(self, engine: Engine) -> str:
        """Return what the database calls itself."""
        return engine.dialect.name

    @abstractmethod
    def version(self) -> ColumnElement[str]:
        """Return what asks the database for its version."""

    @abstractmethod
    def now(self) -> ColumnElement[int]:
        """Return the store's clock, in milliseconds from 1970."""

    @abstractmethod
    def has_item(self, texts: Column[Any], item: str) -> ColumnElement[bool]:
        """Return whether a JSON list of texts has `item`."""

    @abstractmethod
    def upsert(self, table: Table, values: Values, *, newer: str | None = None) -> Insert:
        """Return what inserts rows and gives `values` to those that are there, found by their primary keys.

        With `newer`, only to those whose column of this name is not above the one given.
        """

    @abstractmethod
    def meaning(self, cause: BaseException) -> tuple[Trouble, str] | None:
        """Return what an error of the driver means, and what to do about it; None if it does not say."""

    async def call(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """Await a call of the store: what must not be disturbed halfway is finished while it is being cancelled."""
        return await work


def all_given(table: Table) -> Values:
    """Return the values of all columns as given, the primary key's aside."""
    names = [column.name for column in table.columns if not column.primary_key]
    return lambda given: {name: given[name] for name in names}
