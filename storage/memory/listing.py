"""Lists in the order that every store gives."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from storage.paging import Position, to_milliseconds

_Item = TypeVar("_Item")


def listed(items: Iterable[_Item], position: Callable[[_Item], Position], after: Position | None) -> list[_Item]:
    """Return the items that come after a position, the latest first, then by id."""

    def key(place: Position) -> tuple[int, str]:
        return -to_milliseconds(place[0]), place[1]

    found = sorted(items, key=lambda item: key(position(item)))
    return [item for item in found if after is None or key(position(item)) > key(after)]
