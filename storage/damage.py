"""What can't be read of what a store keeps: raised where it was asked for, passed over where others must not suffer."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from agentbus.contracts.errors import StoreDamaged
from agentbus.contracts.telemetry import Action
from agentbus.storage.log_lines import Logger

_Kept = TypeVar("_Kept")
_Item = TypeVar("_Item")

REBUILD: Final = "`agentbus store check --repair` rebuilds it from its log"
RESTORE: Final = "restore it from a backup"
SET_ANEW: Final = "a later release may have written it: upgrade, or set it anew"

_UNREADABLE: Final = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What reading raises for what is not as it was written; pydantic's ValidationError is a ValueError."""

_MOST_TOLD: Final = 1000

_log = Logger(__name__)
_told: Final[set[str]] = set()


def read_as(what: str, read: Callable[[_Kept], _Item], kept: _Kept, advice: str = RESTORE, **details: Any) -> _Item:
    """Return what `read` makes of what is kept. Raises StoreDamaged, naming `what` it is, if that can't be read."""
    try:
        return read(kept)
    except _UNREADABLE as error:
        raise StoreDamaged(f"{what} is damaged: {_reason(error)}: {advice}", **details) from None


def readable(kept: Iterable[_Kept], read: Callable[[_Kept], _Item]) -> list[_Item]:
    """Return what can be read; the rest is passed over and told."""
    found: list[_Item] = []
    for one in kept:
        try:
            found.append(read(one))
        except StoreDamaged as damage:
            tell(damage)
    return found


def unless_damaged(kept: _Kept, read: Callable[[_Kept], _Item]) -> _Item | None:
    """Return what can be read, or None in the place of what is damaged, which is told."""
    return next(iter(readable([kept], read)), None)


async def enough(
    fetch: Callable[[int], Awaitable[Sequence[_Kept]]], read: Callable[[_Kept], _Item], count: int
) -> list[_Item]:
    """Return the first `count` that can be read of a list of which `fetch` returns so many; the rest is passed over."""
    asked = count
    while True:
        kept = await fetch(asked)
        found = readable(kept, read)
        if len(found) >= count or len(kept) < asked:
            return found[:count]
        asked *= 2


def tell(damage: StoreDamaged) -> None:
    """Say that something is damaged: once, however often it is come upon."""
    if (words := str(damage)) not in _told:
        if len(_told) >= _MOST_TOLD:
            _told.clear()
        _told.add(words)
        _log.warning(Action.STORE_DAMAGED, reason=words)


def _reason(error: Exception) -> str:
    """Return what is wrong, without what is kept: that may be a person's text."""
    if not isinstance(error, ValidationError):
        return type(error).__name__
    what = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return f"{'.'.join(map(str, what['loc'])) or 'all of it'}: {what['msg']}"
