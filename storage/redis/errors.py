"""What Redis' errors mean. What may pass, and what is worth asking again at once, is declared here as data."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterDownError,
    ClusterError,
    ConnectionError,  # noqa: A004 - it is redis-py's name for it
    MasterDownError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    SlotNotCoveredError,
    TimeoutError,  # noqa: A004 - the same
    TryAgainError,
)

from agentbus.contracts.errors import StoreError, StoreRejected, StoreUnavailable

SOON: Final = (ReadOnlyError, ClusterDownError, SlotNotCoveredError, TryAgainError)
"""Answers of a server that did nothing, and after which another one may be asked in a moment: after a failover."""

_PASSING: Final = (
    *SOON,
    AskError,
    BusyLoadingError,
    ClusterError,
    ConnectionError,
    MasterDownError,
    OutOfMemoryError,
    OSError,
    TimeoutError,
)
_PASSING_CODES: Final = frozenset(
    {
        "BUSY",  # a script of somebody's runs for long
        "LOADING",  # it reads what it has from its disk
        "MASTERDOWN",
        "MISCONF",  # it can't write to its disk
        "NOREPLICAS",  # fewer replicas follow than it needs to take a write
        "OOM",
        "READONLY",
    }
)
"""By the first word of an answer; in one of a script, by a word of it: servers before 7.0 wrapped it."""

OF_CLUSTER: Final = "a server of a cluster: write redis+cluster:// (rediss+cluster://) in the URL"

_ADVICE: Final = {
    AuthenticationError: "check user and password in the URL",
    AuthorizationError: "check user and password in the URL",
    NoPermissionError: "give the user the keys of this prefix (~agentbus:*) and the commands +@all -@dangerous +info",
    MovedError: f"it is {OF_CLUSTER}",
}
_SHOWN: Final = 200


@contextmanager
def store_errors(target: str) -> Iterator[None]:
    """Turn redis-py's errors into StoreUnavailable or StoreRejected."""
    try:
        yield
    except (RedisError, RedisClusterException, OSError) as error:
        raise _meaning(target, error) from error


def _meaning(target: str, error: Exception) -> StoreError:
    said = str(error)[:_SHOWN] or type(error).__name__
    if _is_untrusted(error):
        return StoreRejected(f"{target}: {said}: name the authority that signed its certificate by ssl_ca_certs")
    for kind, advice in _ADVICE.items():
        if isinstance(error, kind):
            return StoreRejected(f"{target}: {said}: {advice}")
    if isinstance(error, RedisClusterException):
        return _of_cluster(target, error, said)
    if isinstance(error, _PASSING) or _PASSING_CODES.intersection(said.replace("-", " ").split()[:20]):
        return StoreUnavailable(f"{target} does not answer: {said}")
    return StoreRejected(f"{target} refuses the operation: {said}")


def _of_cluster(target: str, error: RedisClusterException, said: str) -> StoreError:
    """Return what it means that a cluster can't be used: redis-py has one error for all that it found there."""
    causes = [*_causes(error)]
    if any(isinstance(cause, AuthenticationError | AuthorizationError) for cause in causes):
        return StoreRejected(f"{target}: {said}: check user and password in the URL")
    if "not enabled" in said or any("cluster support disabled" in str(cause) for cause in causes):
        return StoreRejected(f"{target} is no cluster: write redis:// (rediss://) in the URL")
    return StoreUnavailable(f"{target} does not answer: {said}")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_untrusted(error: BaseException) -> bool:
    """Return whether a server's certificate was refused: redis-py wraps that in the error of a lost connection."""
    return any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error))
