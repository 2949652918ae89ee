"""What the database's errors mean, as errors of the store."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from agentbus.contracts.errors import StoreError, StoreRejected, StoreUnavailable
from agentbus.storage.sql.dialects import Dialect, Trouble

TRANSIENT: Final = (OperationalError, InterfaceError, PoolTimeout, OSError)
"""Errors of connections, locks and resources, for databases that say no more. OSError has TimeoutError among them."""

_SHOWN: Final = 200


class Collided(StoreUnavailable):
    """Another transaction was in the way, and this one was undone as a whole."""


@contextmanager
def store_errors(dialect: Dialect) -> Iterator[None]:
    """Turn the database's errors into StoreUnavailable or StoreRejected; IntegrityError passes through."""
    of_databases: tuple[type[Exception], ...] = (SQLAlchemyError, OverflowError, OSError, *dialect.ERRORS)
    try:
        yield
    except IntegrityError:
        raise
    except of_databases as error:
        raise _meaning(dialect, error) from error


def _meaning(dialect: Dialect, error: Exception) -> StoreError:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
    said = "it took too long" if isinstance(cause, TimeoutError) else str(cause)[:_SHOWN]
    match dialect.meaning(cause):
        case Trouble.PASSES, advice:
            return StoreUnavailable(f"{dialect.target} does not answer: {said}{f': {advice}' if advice else ''}")
        case Trouble.COLLIDED, _:
            return Collided(f"{dialect.target}: others change the same just now: {said}")
        case Trouble.REFUSED, advice:
            return StoreRejected(f"{dialect.target}: {said}{f': {advice}' if advice else ''}")
    if isinstance(error, TRANSIENT):
        return StoreUnavailable(f"{dialect.target} does not answer: {said}")
    return StoreRejected(f"{dialect.target} refuses the operation: {said}")
