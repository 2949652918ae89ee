"""Pages: a part of a list, and where the next part begins."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar, overload

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Sequence[T]):
    """A part of a list: a sequence of its items, false when there is none."""

    items: list[T]
    cursor: str | None = None
    """Hand it back for the next page; None: this was the last."""

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        return self.items[index]
