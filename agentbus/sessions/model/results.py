"""What calls give: a page of a list, a count with what it leaves out, the health of what runs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Self, TypeVar, overload

from agentbus.contracts.errors import AgentBusError
from agentbus.contracts.ids import SessionId

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


class Count(int):
    """How many sessions a call has dealt with: a number, and with it those that it could not deal with."""

    failed: Mapping[SessionId, AgentBusError]
    """Why not, by session; empty if all went well. Whoever calls again tries these again."""

    def __new__(cls, number: int, failed: Mapping[SessionId, AgentBusError] | None = None) -> Self:
        """Return a number with the failures beside it."""
        count = super().__new__(cls, number)
        count.failed = dict(failed or {})
        return count

    def and_more(self, other: "Count") -> "Count":
        """Return what two calls have dealt with together."""
        return Count(self + other, {**self.failed, **other.failed})

    __str__ = int.__repr__

    def __repr__(self) -> str:
        return f"Count({int(self)}, failed={dict(self.failed)!r})"


class HealthStatus(StrEnum):
    """How well a system works."""

    HEALTHY = "healthy"
    """Every part of it works."""
    DEGRADED = "degraded"
    """Sessions are read and changed; a part beside that does not work."""
    UNHEALTHY = "unhealthy"
    """Sessions can't be read or changed."""


_NEEDED: Final = frozenset({"store", "session_worker"})
"""The parts without which sessions can't be read or changed."""


class Health(dict[str, Any]):
    """A mapping with `status`, a HealthStatus, and `checks`: each part's name, whether it is healthy, what is known.

    It is true only while every part works, so that `if await manager.health_check():` asks for that.
    """

    def __init__(self, checks: Mapping[str, Mapping[str, Any]]) -> None:
        failing = {name for name, check in checks.items() if not check["healthy"]}
        status = HealthStatus.HEALTHY
        if failing:
            status = HealthStatus.UNHEALTHY if failing & _NEEDED else HealthStatus.DEGRADED
        super().__init__(status=status, checks=dict(checks))

    def __bool__(self) -> bool:
        return self["status"] is HealthStatus.HEALTHY
