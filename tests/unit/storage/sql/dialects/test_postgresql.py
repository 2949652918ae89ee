"""What errors of PostgreSQL's driver mean."""

import asyncpg  # type: ignore[import-untyped]  # asyncpg ships no types
import pytest

from agentbus.storage.sql.dialects import Trouble
from agentbus.storage.sql.dialects.postgresql import PostgreSQL


@pytest.mark.parametrize(
    ("error", "trouble", "is_of_no_use"),
    [
        (asyncpg.InterfaceError("connection is closed"), Trouble.PASSES, True),
        (
            asyncpg.InternalClientError("cannot switch to state 15; another operation (2) is in progress"),
            Trouble.PASSES,
            True,
        ),
        (
            asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
            Trouble.PASSES,
            False,
        ),
        (asyncpg.DataError("value out of int64 range"), Trouble.REFUSED, False),
        (asyncpg.ReadOnlySQLTransactionError("in a read-only transaction"), Trouble.PASSES, True),
        (asyncpg.InsufficientPrivilegeError("permission denied"), Trouble.REFUSED, False),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_an_error_of_the_driver_means_the_same_wrapped_or_not(
    error: Exception, trouble: Trouble, is_of_no_use: bool, wrapped: bool
) -> None:
    dialect = PostgreSQL("postgresql://ann@localhost/db")
    if wrapped:
        outer = RuntimeError(str(error))
        outer.__cause__ = error
        outer.sqlstate = getattr(error, "sqlstate", None)  # type: ignore[attr-defined]  # as SQLAlchemy does
        error = outer
    meaning = dialect.meaning(error)
    assert meaning is not None
    assert meaning[0] is trouble
    assert dialect.is_of_no_use(error) is is_of_no_use
