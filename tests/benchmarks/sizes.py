"""How much is measured: a full run, a quick one (under three minutes), and a slice for the tests."""

from dataclasses import dataclass, replace
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The amounts of a run."""

    name: str
    users: int
    """Conversations of a throughput run; each says `each` messages."""
    each: int
    repeats: int
    """Rounds of throughput; in each round every contender has its turn."""
    bursts_repeats: int
    latency_seconds: float
    latency_repeats: int
    growth_points: tuple[int, ...]
    """Which messages of a session are measured; the first is the one that the others are compared to."""
    growth_blocks: int
    """Blocks measured at each point, and as many around the first point beside them."""
    plain_growth_points: tuple[int, ...]
    """The plain consumer's document reaches MongoDB's limit of 16 MB before its 100,000th message."""
    failover_seconds: float
    failover_repeats: int
    limits_repeats: int
    """Rounds beside what broker and store carry alone."""
    scale_workers: tuple[int, ...]
    """How many workers with a small share of a core; none: it is not measured."""
    scale_seconds: float
    scale_repeats: int
    memory_sessions: int
    """Sessions that a worker sees while its memory is measured; 0: it is not."""


FULL: Final = Sizes(
    name="full",
    users=1_000,
    each=10,
    repeats=7,
    bursts_repeats=5,
    latency_seconds=30,
    latency_repeats=3,
    growth_points=(100, 10_000, 100_000),
    growth_blocks=20,
    plain_growth_points=(100, 10_000),
    failover_seconds=20,
    failover_repeats=5,
    limits_repeats=3,
    scale_workers=(1, 2, 4, 8),
    scale_seconds=20,
    scale_repeats=3,
    memory_sessions=100_000,
)

QUICK: Final = replace(
    FULL,
    name="quick",
    users=200,
    repeats=1,
    bursts_repeats=1,
    latency_seconds=5,
    latency_repeats=1,
    growth_points=(100, 1_000),
    growth_blocks=5,
    plain_growth_points=(100, 1_000),
    failover_seconds=5,
    failover_repeats=1,
    limits_repeats=1,
    scale_workers=(1, 8),
    scale_seconds=8,
    scale_repeats=1,
    memory_sessions=0,
)

SLICE: Final = replace(
    QUICK,
    name="slice",
    users=30,
    repeats=1,
    bursts_repeats=1,
    latency_seconds=1,
    growth_points=(100, 300),
    growth_blocks=2,
    failover_seconds=3,
    scale_workers=(),
)
