"""All measurements of a run, contenders taking turns."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.benchmarks.contenders import AGENTBUS1, AGENTBUS2, CONTENDERS, INGRESS, PLAIN, RELAY, Contender
from tests.benchmarks.measures.failover import Failover, measure_failover
from tests.benchmarks.measures.growth import Growth, measure_growth
from tests.benchmarks.measures.limits import Limits, StoreAlone, measure_broker, measure_store
from tests.benchmarks.measures.low_load import LowLoad, low_load, pace
from tests.benchmarks.measures.memory import Memory, measure_memory
from tests.benchmarks.measures.scale import Scale, measure_scale
from tests.benchmarks.measures.sharing import until_shared
from tests.benchmarks.measures.throughput import Throughput, measure_throughput
from tests.benchmarks.sizes import SLICE, Sizes
from tests.benchmarks.stage import Services, stage
from tests.harness.shares import how_limited

Say = Callable[[str], None]
"""Told what is measured next."""

SHAPES: Final = ("interleaved", "bursts")
PARTS: Final = ("backlog", "low_load", "scale", "growth", "failover", "memory")
"""What can be measured. `backlog` is throughput and closeness to the limit."""

_TIMED: Final = (AGENTBUS1, PLAIN)
"""Who is measured message by message: the others keep no order, or no sessions."""


@dataclass
class Results:
    """What was measured, run by run."""

    throughput: list[Throughput] = field(default_factory=list)
    low_load: list[LowLoad] = field(default_factory=list)
    growth: list[Growth] = field(default_factory=list)
    failover: list[Failover] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)
    limits: list[Limits] = field(default_factory=list)
    scale: list[Scale] = field(default_factory=list)
    scale_limited_by: str | None = None
    """By what the workers' share of a core is limited; None where the system lets us not, and nothing is measured."""


def measure_all(services: Services, sizes: Sizes, say: Say, parts: Collection[str] = PARTS) -> Results:
    """Measure all parts asked for."""
    results = Results()
    if {"backlog", "low_load"} & set(parts):
        _Rounds(services, sizes, say, parts, results).measure()
    if "scale" in parts:
        _measure_scale(services, sizes, say, results)
    if "growth" in parts:
        for contender, points in zip(_TIMED, (sizes.growth_points, sizes.plain_growth_points), strict=True):
            say(f"growth: {contender.name}")
            results.growth += measure_growth(services, contender, points, sizes.growth_blocks)
    if "failover" in parts:
        for number in range(sizes.failover_repeats):
            say(f"failover {number + 1}/{sizes.failover_repeats}")
            results.failover.append(measure_failover(services, AGENTBUS2, sizes.failover_seconds))
    if "memory" in parts and sizes.memory_sessions:
        say(f"memory: {sizes.memory_sessions:,} sessions")
        results.memory.append(measure_memory(services, AGENTBUS1, sizes.memory_sessions))
    return results


def turn(contenders: tuple[Contender, ...], number: int) -> tuple[Contender, ...]:
    """Return the contenders in the order of one round: each round begins with another one."""
    start = number % len(contenders)
    return contenders[start:] + contenders[:start]


@dataclass
class _Rounds:
    """Rounds in which each contender is started once, and measured in all that its workers can be while they run."""

    services: Services
    sizes: Sizes
    say: Say
    parts: Collection[str]
    results: Results

    def measure(self) -> None:
        """Measure all rounds."""
        with_backlog = "backlog" in self.parts
        paced = (*_TIMED, INGRESS) if self.sizes.ingress else _TIMED
        of_rates = paced if "low_load" in self.parts else ()
        contenders = tuple(dict.fromkeys((*(CONTENDERS if with_backlog else ()), *of_rates)))
        # Not kept: broker and store have just started too, and the first run would pay for them.
        with stage(self.services, AGENTBUS1) as run:
            run.start_warm()
            measure_throughput(run, SHAPES[0], SLICE)
        for number in range(self.sizes.repeats):
            store: StoreAlone | None = None
            for contender in turn(contenders, number):
                if contender == AGENTBUS2 and number >= self.sizes.two_workers_repeats:
                    continue
                self.say(f"round {number + 1}/{self.sizes.repeats}: {contender.name}")
                shapes = SHAPES if with_backlog and contender in CONTENDERS else ()
                store = self._of(contender, number, shapes, paced=contender in of_rates) or store
            if store is not None:
                self.say(f"round {number + 1}/{self.sizes.repeats}: the broker alone")
                self._limits(number, store)

    def _of(self, contender: Contender, number: int, shapes: tuple[str, ...], *, paced: bool) -> StoreAlone | None:
        """Measure one contender; return what the store alone takes for what it left, if it is the one to compare."""
        with stage(self.services, contender) as run:
            traces = [Path(run.folder, f"trace-{each}.json") for each in range(contender.processes)] if paced else []
            startup = run.start_warm(traces=traces)
            if contender.way == "partitions":
                until_shared(run)
            for shape in shapes:
                self.results.throughput.append(
                    measure_throughput(run, shape, self.sizes, repeat=number, startup=startup)
                )
            found = pace(self.services, run, self.sizes.rates) if paced else {}
            run.stop_workers()
            self.results.low_load += low_load(run, found, traces, repeat=number)
            if contender == AGENTBUS1 and shapes:
                return measure_store(run, SHAPES[-1], self.sizes.users)
        return None

    def _limits(self, number: int, store: StoreAlone) -> None:
        rates = {
            run.contender: run.rate for run in self.results.throughput if (run.repeat, run.shape) == (number, "bursts")
        }
        total = self.sizes.users * self.sizes.each
        seconds, used = measure_broker(self.services, self.sizes.users, self.sizes.each, store.event_bytes)
        self.results.limits.append(
            Limits(
                repeat=number,
                messages=total,
                agentbus=rates[AGENTBUS1.name],
                relay=rates[RELAY.name],
                broker=total / seconds,
                store=total / store.seconds,
                broker_client_s=used,
                documents=store.documents,
            )
        )


def _measure_scale(services: Services, sizes: Sizes, say: Say, results: Results) -> None:
    results.scale_limited_by = how_limited()
    if results.scale_limited_by is None:
        return
    for workers in sizes.scale_workers:
        say(f"scale: {workers} workers")
        results.scale += measure_scale(services, workers, seconds=sizes.scale_seconds, windows=sizes.scale_windows)
