"""What a fault is."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tests.chaos.system.arena import Arena, Injection, Layout

Inject = Callable[[Arena], Awaitable[Injection]]
"""Brings the fault about once, and mends what would not mend itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault, and the arena in which it is brought about again and again."""

    name: str
    inject: Inject
    layout: Layout = field(default_factory=Layout)
    repeats: int = 20
    quick: bool = False
    """Whether a quick run has it, once."""
    counted_from: str = "the fault"
    """What recovery is counted from."""
    rest: float = 0.5
    """Up to so many seconds between two of them."""
    revived: bool = False
    """Workers that crash are started again by somebody else."""
