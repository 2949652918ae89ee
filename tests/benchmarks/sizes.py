"""How much is measured: a full run, a quick one (three to four minutes), and a slice for the tests."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The amounts of a run."""

    name: str
    repeats: int
    """Rounds; in each every contender has its turn, and works off a backlog of each shape."""
    two_workers_repeats: int
    """In how many of the rounds AgentBus has a turn with two workers, which is compared with nothing."""
    users: int
    """Conversations of a backlog, by a contender's share of it; each says `each` messages, more than are sent ahead."""
    each: int
    rates: Mapping[int, float]
    """For how many seconds each rate (in messages a second) is kept up."""
    ingress: bool
    """Whether the rates are measured by way of the ingress router, too."""
    growth_points: tuple[int, ...]
    """Which messages of a session are measured; the first is the one that the others are compared to."""
    growth_blocks: int
    """Blocks measured at each point, and as many around the first point beside them."""
    plain_growth_points: tuple[int, ...]
    """The plain consumer's document reaches MongoDB's limit of 16 MB before its 100,000th message."""
    failover_seconds: float
    failover_repeats: int
    """How often a worker is killed; 0: never, `make chaos` does it."""
    scale_workers: tuple[int, ...]
    """How many workers with a small share of a core, beside one more each time; none: it is not measured."""
    scale_seconds: float
    scale_windows: int
    """Windows of `scale_seconds` one after the other. Each has to hold several rounds, of which one takes about 1 s."""
    memory_sessions: int
    """Sessions that a worker sees while its memory is measured; 0: it is not."""

    @property
    def leaves_out(self) -> Mapping[str, bool]:
        """The parts that a run of some size may be without, and whether this one is."""
        return {
            "scale": not self.scale_workers,
            "failover": not self.failover_repeats,
            "memory": not self.memory_sessions,
        }


FULL: Final = Sizes(
    name="full",
    repeats=7,
    two_workers_repeats=7,
    users=2_000,
    each=10,
    rates={50: 10, 200: 8, 1_000: 3},
    ingress=True,
    growth_points=(100, 10_000, 100_000),
    growth_blocks=20,
    plain_growth_points=(100, 10_000),
    failover_seconds=20,
    failover_repeats=5,
    scale_workers=(1, 2, 4, 8),
    scale_seconds=16,
    scale_windows=3,
    memory_sessions=100_000,
)

QUICK: Final = replace(
    FULL,
    name="quick",
    repeats=3,
    two_workers_repeats=0,
    users=640,
    rates={50: 1.5, 200: 3, 1_000: 0.6},
    ingress=False,
    growth_points=(100, 1_000),
    growth_blocks=2,
    plain_growth_points=(100, 1_000),
    failover_repeats=0,
    scale_workers=(8,),
    scale_seconds=8,
    scale_windows=1,
    memory_sessions=0,
)

SLICE: Final = replace(
    QUICK,
    name="slice",
    repeats=1,
    two_workers_repeats=0,
    users=400,
    rates={200: 1},
    growth_points=(100, 300),
    growth_blocks=2,
    failover_seconds=3,
    failover_repeats=1,
    scale_workers=(),
)
