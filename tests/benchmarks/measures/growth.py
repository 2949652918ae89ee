"""What a message costs when its session is long already.

Blocks of 100 messages of one session are published and awaited, nothing else going on. At each later point, blocks of
the long session take turns with blocks around the first point, each of another short session: the ratio compares what
was measured side by side. A long session is reached by talking (AgentBus), or by writing the document that the
contender would have by then (the plain consumer: talking would take too long).
"""

from dataclasses import dataclass
from itertools import count
from statistics import median
from typing import Final

from tests.benchmarks.contenders import Contender
from tests.benchmarks.evidence import write_plain_session
from tests.benchmarks.stage import Services, Stage, stage

BLOCK: Final = 100
_LOT: Final = 5_000

Block = tuple[str, int]
"""A session, and how many messages it has before the block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """The cost of messages around one point of a session."""

    contender: str
    message: int
    cost_ms: float
    """Time per message, in ms: the median of the blocks."""
    reference_ms: float
    """The same around the first point, measured in turn."""
    cpu_ms: float
    """Processor time of the worker per message, in ms."""

    @property
    def ratio(self) -> float:
        """How much dearer a message is here than around the first point."""
        return self.cost_ms / self.reference_ms


def measure_growth(services: Services, contender: Contender, points: tuple[int, ...], blocks: int) -> list[Growth]:
    """Measure all points with one worker; the first must be at half a block or later."""
    with stage(services, contender) as run:
        run.start_warm()
        numbers = count()
        before = points[0] - BLOCK // 2
        found = []
        reached = 0
        for point in points:
            short = [(_reach(run, f"short{next(numbers)}", before), before) for _ in range(2 * blocks)]
            start = point - blocks * BLOCK // 2
            if point == points[0]:
                there = short[blocks:]
            else:
                name = _reach(run, "long" if contender.store == "log" else f"long{point}", start, reached)
                there = [(name, start + BLOCK * number) for number in range(blocks)]
                reached = start + blocks * BLOCK
            found.append(_measure(run, point, there, short[:blocks]))
        return found


def _reach(run: Stage, name: str, messages: int, reached: int = 0) -> str:
    """Let a session have so many messages; return its name."""
    if run.contender.store != "log" and messages > BLOCK:
        write_plain_session(run.store_url, f"{name}-0", messages)
        return name
    while reached < messages:
        lot = min(_LOT, messages - reached)
        run.load.call("block", name=name, first=reached + 1, count=lot)
        reached += lot
    return name


def _measure(run: Stage, point: int, there: list[Block], short: list[Block]) -> Growth:
    costs: list[float] = []
    references: list[float] = []
    cpu = 0.0
    for block, reference in zip(there, short, strict=True):
        references.append(_cost(run, reference))
        before = run.cpu_seconds()
        costs.append(_cost(run, block))
        cpu += run.cpu_seconds() - before
    return Growth(
        contender=run.contender.name,
        message=point,
        cost_ms=1000 * median(costs),
        reference_ms=1000 * median(references),
        cpu_ms=1000 * cpu / (BLOCK * len(there)),
    )


def _cost(run: Stage, block: Block) -> float:
    """Return the seconds per message of a block."""
    name, before = block
    return float(run.load.call("block", name=name, first=before + 1, count=BLOCK)) / BLOCK
