"""What the database's errors mean. What is worth retrying is declared here as data."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from agentbus.contracts.errors import StoreRejected, StoreUnavailable

TRANSIENT: Final = (OperationalError, InterfaceError, PoolTimeout)
"""Errors of connections, locks and resources, for databases that say no more."""

TRANSIENT_SQLITE: Final = frozenset(
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

ADVICE: Final = {
    sqlite3.SQLITE_CANTOPEN: "check that its folder exists and that this user may write there",
    sqlite3.SQLITE_READONLY: "give this user the right to write the file and its folder",
    sqlite3.SQLITE_PERM: "give this user the right to write the file and its folder",
    sqlite3.SQLITE_NOTADB: "the file is something else than a SQLite database: choose another path",
    sqlite3.SQLITE_CORRUPT: "the file is damaged: restore it from a backup",
}
"""What to do about the errors of SQLite that retrying does not cure."""


@contextmanager
def store_errors(target: str) -> Iterator[None]:
    """Turn the database's errors into StoreUnavailable or StoreRejected; IntegrityError passes through."""
    try:
        yield
    except IntegrityError:
        raise
    except (SQLAlchemyError, sqlite3.Error, OverflowError) as error:
        raise _meaning(target, error) from error


def _meaning(target: str, error: Exception) -> StoreUnavailable | StoreRejected:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
    code = getattr(cause, "sqlite_errorcode", None)
    if code is not None:
        primary = code & 0xFF
        if primary in TRANSIENT_SQLITE:
            return StoreUnavailable(f"{target} does not answer: {cause}")
        return StoreRejected(f"{target}: {cause}: {ADVICE.get(primary, 'the database refuses the operation')}")
    if isinstance(error, TRANSIENT):
        return StoreUnavailable(f"{target} does not answer: {cause}")
    return StoreRejected(f"{target} refuses the operation: {cause}")
