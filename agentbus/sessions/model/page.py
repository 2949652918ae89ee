"""Pages: a part of a list, and where the next part begins."""

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list."""

    items: list[T]
    cursor: str | None = None
    """Hand it back for the next page; None: this was the last."""
