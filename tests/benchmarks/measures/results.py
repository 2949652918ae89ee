"""All measurements of a run, contenders taking turns."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from tests.benchmarks.contenders import AGENTBUS1, AGENTBUS2, CONTENDERS, PLAIN, Contender
from tests.benchmarks.measures.failover import Failover, measure_failover
from tests.benchmarks.measures.growth import Growth, measure_growth
from tests.benchmarks.measures.latency import Latency, measure_latency
from tests.benchmarks.measures.limits import Limits, measure_limits
from tests.benchmarks.measures.memory import Memory, measure_memory
from tests.benchmarks.measures.scale import Scale, measure_scale
from tests.benchmarks.measures.throughput import Throughput, measure_idle, measure_throughput
from tests.benchmarks.sizes import SLICE, Sizes
from tests.benchmarks.stage import Services
from tests.harness.shares import how_limited

Say = Callable[[str], None]
"""Told what is measured next."""

_TIMED: Final = (AGENTBUS1, PLAIN)
"""Who is measured in time, message by message: the others keep no order, or no sessions."""


@dataclass
class Results:
    """What was measured, run by run."""

    throughput: list[Throughput] = field(default_factory=list)
    latency: list[Latency] = field(default_factory=list)
    growth: list[Growth] = field(default_factory=list)
    failover: list[Failover] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)
    limits: list[Limits] = field(default_factory=list)
    scale: list[Scale] = field(default_factory=list)
    scale_limited_by: str | None = None
    """By what the workers' share of a core is limited; None where the system lets us not, and nothing is measured."""


def steps(sizes: Sizes) -> int:
    """Return how many times `measure_all` will say what comes next."""
    runs = len(CONTENDERS) * (1 + sizes.repeats + sizes.bursts_repeats)
    runs += sizes.limits_repeats
    if how_limited():
        runs += sizes.scale_repeats * len(sizes.scale_workers)
    return (
        runs + len(_TIMED) * sizes.latency_repeats + len(_TIMED) + sizes.failover_repeats + bool(sizes.memory_sessions)
    )


def measure_all(services: Services, sizes: Sizes, say: Say) -> Results:
    """Measure everything."""
    results = Results()
    idle = _measure_throughput(services, sizes, say, results)
    for number in range(sizes.limits_repeats):
        say(f"limits {number + 1}/{sizes.limits_repeats}")
        results.limits.append(measure_limits(services, sizes, idle))
    _measure_scale(services, sizes, say, results)
    for number in range(sizes.latency_repeats):
        for contender in turn(_TIMED, number):
            say(f"latency {number + 1}/{sizes.latency_repeats}: {contender.name}")
            results.latency.append(measure_latency(services, contender, sizes.latency_seconds))
    for contender, points in zip(_TIMED, (sizes.growth_points, sizes.plain_growth_points), strict=True):
        say(f"growth: {contender.name}")
        results.growth += measure_growth(services, contender, points, sizes.growth_blocks)
    for number in range(sizes.failover_repeats):
        say(f"failover {number + 1}/{sizes.failover_repeats}")
        results.failover.append(measure_failover(services, AGENTBUS2, sizes.failover_seconds))
    if sizes.memory_sessions:
        say(f"memory: {sizes.memory_sessions:,} sessions")
        results.memory.append(measure_memory(services, AGENTBUS1, sizes.memory_sessions))
    return results


def turn(contenders: tuple[Contender, ...], number: int) -> tuple[Contender, ...]:
    """Return the contenders in the order of one round: each round begins with another one."""
    start = number % len(contenders)
    return contenders[start:] + contenders[:start]


def _measure_scale(services: Services, sizes: Sizes, say: Say, results: Results) -> None:
    results.scale_limited_by = how_limited()
    if results.scale_limited_by is None:
        return
    for number in range(sizes.scale_repeats):
        for workers in sizes.scale_workers:
            say(f"scale {number + 1}/{sizes.scale_repeats}: {workers} workers")
            results.scale.append(measure_scale(services, workers, seconds=sizes.scale_seconds))


def _measure_throughput(services: Services, sizes: Sizes, say: Say, results: Results) -> dict[str, float]:
    idle: dict[str, float] = {}
    for contender in CONTENDERS:
        say(f"start: {contender.name}")
        idle[contender.name] = measure_idle(services, contender)
    # Not kept: broker and store have just started too, and the first run would pay for them.
    measure_throughput(services, AGENTBUS1, "interleaved", SLICE, idle[AGENTBUS1.name])
    repeats = {"interleaved": sizes.repeats, "bursts": sizes.bursts_repeats}
    for number in range(max(repeats.values())):
        for shape in [shape for shape in repeats if number < repeats[shape]]:
            for contender in turn(CONTENDERS, number):
                say(f"{shape} {number + 1}/{repeats[shape]}: {contender.name}")
                results.throughput.append(measure_throughput(services, contender, shape, sizes, idle[contender.name]))
    return idle
