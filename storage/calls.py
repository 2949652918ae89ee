"""How the calls of a store end that are cancelled: what every store with a disk or a server does alike."""

from collections.abc import Callable, Collection, Coroutine
from functools import wraps
from inspect import getmembers, iscoroutinefunction
from typing import Any, Final, Protocol, TypeVar

from agentbus.contracts.records import Lock
from agentbus.storage.cancelling import cancelled_once, finished, taken
from agentbus.storage.port import Locks

_Kind = TypeVar("_Kind", bound=type)
_Call = Callable[..., Coroutine[Any, Any, Any]]


class How(Protocol):
    """A way to await work while being cancelled, of `agentbus.storage.cancelling`."""

    async def __call__(self, work: Coroutine[Any, Any, Any], /) -> Any: ...


_PORT: Final = Locks.__module__.rpartition(".")[0]

_OF_EVERY_STORE: Final[dict[str, How]] = {
    "start": cancelled_once,
    "close": finished,
    "release": finished,
    "release_many": finished,
}
"""The calls that end alike in all of them: looking for a server stops at once, what gives back is finished."""


def end_well(how: How) -> Callable[[_Kind], _Kind]:
    """Let the calls of a store, or of one of its sections, end as `how` says when they are cancelled.

    A lock that was taken then is given back. What a port does by other calls of it, where its store has nothing better,
    ends as those do.
    """

    def decorate(kind: _Kind) -> _Kind:
        for name, call in own_calls(kind):
            taking = _TAKING.get(name) if issubclass(kind, Locks) else None
            setattr(kind, name, taking(call) if taking else _ending(call, _OF_EVERY_STORE.get(name, how)))
        return kind

    return decorate


def own_calls(kind: type) -> list[tuple[str, Callable[..., Coroutine[Any, Any, Any]]]]:
    """Return the public calls of a store or of one of its sections, without those that its port does by others."""
    calls = getmembers(kind, iscoroutinefunction)
    return [(name, call) for name, call in calls if not (name.startswith("_") or call.__module__.startswith(_PORT))]


def _ending(call: _Call, how: How) -> _Call:
    @wraps(call)
    async def ending(*args: Any, **kwargs: Any) -> Any:
        return await how(call(*args, **kwargs))

    return ending


def _taking(acquire: _Call) -> _Call:
    @wraps(acquire)
    async def taking(locks: Locks, name: str, *, ttl: float) -> Lock | None:
        async def give_back(lock: Lock | None) -> None:
            if lock is not None:
                await locks.release(lock.name, lock.token)

        return await taken(acquire(locks, name, ttl=ttl), give_back)

    return taking


def _taking_many(acquire: _Call) -> _Call:
    @wraps(acquire)
    async def taking(locks: Locks, names: Collection[str], *, ttl: float) -> list[Lock]:
        return await taken(acquire(locks, names, ttl=ttl), locks.release_many)

    return taking


_TAKING: Final = {"acquire": _taking, "acquire_many": _taking_many}
"""The calls that take locks, which are given back if the call is cancelled."""
