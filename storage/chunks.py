"""Splitting long lists of ids."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

_Item = TypeVar("_Item")


def chunks(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    """Yield `items` in order, in pieces of up to `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
