"""What MongoDB's errors mean. What is worth retrying is declared here as data.

Codes: MongoDB's error_codes.yml; the transient ones are those of the retryable reads and writes specifications.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from bson.errors import BSONError
from pymongo.errors import (
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    CursorNotFound,
    ExecutionTimeout,
    OperationFailure,
    PyMongoError,
    WTimeoutError,
)

from agentbus.contracts.errors import StoreRejected, StoreUnavailable

TRANSIENT: Final = (ConnectionFailure, CursorNotFound, ExecutionTimeout, WTimeoutError)

TRANSIENT_CODES: Final = frozenset(
    {
        6,  # HostUnreachable
        7,  # HostNotFound
        50,  # MaxTimeMSExpired
        64,  # WriteConcernFailed
        89,  # NetworkTimeout
        91,  # ShutdownInProgress
        112,  # WriteConflict
        133,  # FailedToSatisfyReadPreference
        134,  # ReadConcernMajorityNotAvailableYet
        189,  # PrimarySteppedDown
        262,  # ExceededTimeLimit
        9001,  # SocketException
        10107,  # NotWritablePrimary
        11600,  # InterruptedAtShutdown
        11602,  # InterruptedDueToReplStateChange
        13435,  # NotPrimaryNoSecondaryOk
        13436,  # NotPrimaryOrSecondary
        14031,  # OutOfDiskSpace
    }
)

DUPLICATE_KEY: Final = 11000

ADVICE: Final = {
    13: "give the user the readWrite role on this database",  # Unauthorized
    18: "check user, password and authSource in the URL",  # AuthenticationFailed
    8000: "check user, password and authSource in the URL",  # Atlas: authentication failed
}
"""What to do about the refusals that retrying does not cure."""

_SHOWN: Final = 200


@contextmanager
def store_errors(target: str) -> Iterator[None]:
    """Turn the client's errors into StoreUnavailable or StoreRejected; BulkWriteError passes through."""
    try:
        yield
    except BulkWriteError:
        raise
    except TRANSIENT as error:
        raise unavailable(target, error) from error
    except OperationFailure as error:
        if error.code in TRANSIENT_CODES:
            raise unavailable(target, error) from error
        raise rejected(target, error.code, str(error)) from error
    except (PyMongoError, BSONError, OverflowError) as error:
        raise rejected(target, None, str(error)) from error


@contextmanager
def url_errors(target: str) -> Iterator[None]:
    """Turn the client's errors and warnings about its URL into StoreRejected."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # The client only warns of options that it does not know.
            yield
    except (ConfigurationError, ValueError, UserWarning):
        # Not the client's words, nor the error itself: they may quote a part of the password.
        raise StoreRejected(
            f"the MongoDB URL {target} can't be used: check host, port and options; percent-encode user and password"
        ) from None


def unavailable(target: str, error: object) -> StoreUnavailable:
    """Return what to raise when the server does not answer."""
    reason = str(error).partition(" (configured timeouts")[0][:_SHOWN]
    return StoreUnavailable(f"{target} does not answer: {reason}")


def rejected(target: str, code: int | None, message: str) -> StoreRejected:
    """Return what to raise when the server refuses, with what to do about it."""
    advice = ADVICE.get(code or 0)
    return StoreRejected(f"{target} refuses: {message[:_SHOWN]}{f': {advice}' if advice else ''}")


def write_errors(target: str, error: BulkWriteError) -> list[dict[str, Any]]:
    """Return the errors of single writes in a bulk. Raises StoreUnavailable if the outcome is not known."""
    failed: list[dict[str, Any]] = error.details.get("writeErrors", [])
    unknown = [*error.details.get("writeConcernErrors", []), *(e for e in failed if e["code"] in TRANSIENT_CODES)]
    if unknown:
        raise unavailable(target, unknown[0].get("errmsg", "write concern not met")) from error
    return failed
