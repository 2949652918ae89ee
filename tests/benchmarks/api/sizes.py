"""How much is measured."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much is measured."""

    rows: int = 1000
    """Sessions, parked inputs and so on that there are, and that a page has."""
    calls: int
    """Calls of each list."""
    rounds: int
    """How often publishing goes by one way and then by the other."""
    publishes: int
    """Messages of each round by each way, one after the other."""


FULL: Final = Sizes(calls=30, rounds=10, publishes=50)
QUICK: Final = Sizes(calls=10, rounds=4, publishes=25)
SLICE: Final = Sizes(rows=20, calls=3, rounds=2, publishes=3)
"""For a test that it counts right."""
