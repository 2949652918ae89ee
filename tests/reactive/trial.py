"""What a trial is, and what it comes to."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pydantic import JsonValue

from tests.harness.figures import percentile
from tests.reactive.system.stage import Stage

Size = TypeVar("Size")


@dataclass(slots=True)
class Result:
    """What a trial came to."""

    trial: str
    figures: dict[str, JsonValue] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    """What does not hold."""
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        """Whether everything held."""
        return not self.problems

    def expect(self, holds: bool, otherwise: str) -> None:
        """Note a problem unless it holds."""
        if not holds:
            self.problems.append(otherwise)

    def as_dict(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return {
            "trial": self.trial,
            "held": self.good,
            "seconds": round(self.seconds, 1),
            **self.figures,
            "problems": self.problems[:20],
        }


@dataclass(frozen=True, slots=True)
class Trial(Generic[Size]):
    """A trial and its sizes."""

    name: str
    run: Callable[[Stage, Size, Result], Awaitable[None]]
    full: Size
    quick: Size
    record: bool = True
    """Whether all events are recorded."""


def spread(name: str, values: Sequence[float]) -> dict[str, JsonValue]:
    """Return p50, p99 and the maximum of seconds; nothing if there are none."""
    if not values:
        return {}
    points = {"p50": percentile(values, 50), "p99": percentile(values, 99), "max": max(values)}
    return {f"{name}_{point}_s": round(value, 3) for point, value in points.items()}
