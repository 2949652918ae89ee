"""One storm: calm, then hostile messages by the thousand, then a reckoning.

Half of them come at a rate and are spread over all partitions; the other half floods one partition as fast as the
broker takes it: whoever sends there waits behind it, and nobody else should. Some more come while a subscriber's queue
refuses everything, and while the store is frozen: what comes then may wait, and is accounted for like the rest.
"""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

from agentbus.testing import check, read_evidence
from tests.attack.crafted.hostile import Hostile, Shot
from tests.attack.storm.arena import Target, target
from tests.attack.storm.ledger import Fate, Ledger, reckon
from tests.harness.figures import milliseconds, percentile
from tests.harness.system.backends import Services
from tests.harness.system.queues import left_in, until_settled

MOST_LINES: Final = 500
"""Lines that the workers' logs may grow by, together, however many messages are parked."""
MOST_GROWTH: Final = 1.2
"""Times the memory that a worker had after the first half. What bodies of megabytes needed at once is not given back to
the system: so some come first, until it has what it needs. What is left is that live states fill up."""
_CALM_SECONDS: Final = 3.0
_BROKEN_SECONDS: Final = 2.0
_STEPS: Final = 6
"""Parts of each half of a storm: after each memory is looked at, and once more when all is handled."""
_HALVES: Final = 2 * (_STEPS + 1)
_ALL_AT_ONCE: Final = 100_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How hard a storm hits."""

    count: int
    rate: float
    """Hostile messages a second, as far as the broker takes them."""
    seed: str
    partitions: int = 8
    workers: int = 2
    large_first: int = 60
    """Bodies of megabytes that come before all others: the most memory that a worker needs is needed then."""

    @property
    def while_broken(self) -> int:
        """How many more come while something is broken."""
        return max(20, self.count // 100)


@dataclass(slots=True)
class Outcome:
    """What a storm came to."""

    plan: Plan
    ledger: Ledger = field(default_factory=Ledger)
    spread_seconds: float = 0.0
    """From the first of the spread messages until nothing was left in any queue; and of the flood."""
    flood_seconds: float = 0.0
    good_sent: int = 0
    good_lost: int = 0
    violated: list[str] = field(default_factory=list)
    """What the checker found among the good messages: lost, doubled, reordered, not announced."""
    waits: dict[str, dict[str, float]] = field(default_factory=dict)
    """Milliseconds that good messages took from being published to their event, by when and where."""
    restarts: int = 0
    memory: list[dict[str, int]] = field(default_factory=list)
    """Bytes that each worker had, again and again."""
    log_lines: int = 0
    counted: dict[str, float] = field(default_factory=dict)
    """What the workers' metrics counted."""
    left: list[str] = field(default_factory=list)

    @property
    def rss_growth(self) -> float:
        """How many times what it had after the first half a worker had after the second, at the most."""
        if len(self.memory) < _HALVES:
            return 0.0
        half, end = self.memory[_STEPS], self.memory[-1]
        return max((end[name] / half[name] for name in half.keys() & end.keys()), default=0.0)

    def problems(self) -> list[str]:
        """Say what did not hold."""
        unaccounted, recorded = self.ledger.fates[Fate.UNACCOUNTED], self.counted.get("recorded", 0.0)
        checks = {
            f"{unaccounted} hostile messages are unaccounted for": unaccounted,
            f"{self.ledger.carried_out} forged commands were carried out": self.ledger.carried_out,
            f"{self.good_lost} good messages were lost": self.good_lost,
            f"{self.restarts} workers ended": self.restarts,
            f"a worker's memory grew to {self.rss_growth:.2f} times": self.rss_growth > MOST_GROWTH,
            f"{self.log_lines} log lines were written, {MOST_LINES} is the limit": self.log_lines > MOST_LINES,
            f"{recorded:.0f} parkings were counted, {self.ledger.parkings} are in the store": (
                recorded != self.ledger.parkings
            ),
            f"left in queues: {self.left}": self.left,
        }
        return [words for words, wrong in checks.items() if wrong] + self.violated + self.ledger.examples

    def summary(self) -> dict[str, Any]:
        """Return the figures of the last line."""
        fates = self.ledger.fates
        return {
            "sent": sum(fates.values()),
            "committed": fates[Fate.COMMITTED],
            "repeated": fates[Fate.REPEATED],
            "parked": fates[Fate.PARKED],
            "refused": fates[Fate.REFUSED],
            "unaccounted": fates[Fate.UNACCOUNTED],
            "forged_carried_out": self.ledger.carried_out,
            "good_sent": self.good_sent,
            "good_lost": self.good_lost,
            "good_p99_ms": max(self.waits[when].get("p99", 0.0) for when in ("spread", "flood, elsewhere")),
            "flooded_p99_ms": self.waits["flood, there"].get("p99", 0.0),
            "calm_p99_ms": self.waits["calm"].get("p99", 0.0),
            "restarts": self.restarts,
            "rss_growth": round(self.rss_growth, 2),
            "log_lines": self.log_lines,
            "flood_per_s": round(self.plan.count // 2 / self.flood_seconds) if self.flood_seconds else 0,
        }


async def run_storm(services: Services, plan: Plan, folder: Path) -> Outcome:
    """Let a storm come down on a new virtual host and a new database, and reckon up."""
    outcome = Outcome(plan)
    with services.fresh() as backends:
        async with target(backends, folder, seed=plan.seed, partitions=plan.partitions, workers=plan.workers) as built:
            await _hit(built, plan, outcome)
            await _judge(built, outcome)
            await built.fleet.stop(*built.fleet.running)
    return outcome


async def _hit(built: Target, plan: Plan, outcome: Outcome) -> None:
    hostile = Hostile(built.topology, plan.seed)
    await built.gun.fire((hostile.large() for _ in range(plan.large_first)), rate=plan.rate)
    await until_settled(built.bus, built.store)
    calm = time.monotonic()
    await asyncio.sleep(_CALM_SECONDS)
    lines = sum(built.log_lines().values())
    begun = time.monotonic()
    await _fire_half(built, outcome, hostile.shots(plan.count - plan.count // 2), rate=plan.rate)
    flood = time.monotonic()
    hit = built.topology.all_partitions()[0]
    shots = Hostile(built.topology, f"{plan.seed}/flood", only=hit).shots(plan.count // 2)
    await _fire_half(built, outcome, shots, rate=_ALL_AT_ONCE)
    over = time.monotonic()
    await _break(built, Hostile(built.topology, f"{plan.seed}/broken").shots(plan.while_broken), plan.rate)
    await built.load.stop()
    await until_settled(built.bus, built.store)
    outcome.spread_seconds, outcome.flood_seconds = flood - begun, over - flood
    outcome.restarts = len(built.fleet.crashed)
    outcome.log_lines = sum(built.log_lines().values()) - lines
    outcome.counted = await built.counted()
    outcome.waits = {
        "calm": _quantiles(built.waits(since=calm, until=begun)),
        "spread": _quantiles(built.waits(since=begun, until=flood)),
        "flood, elsewhere": _quantiles(built.waits(since=flood, until=over, where=lambda one: one != hit)),
        "flood, there": _quantiles(built.waits(since=flood, until=over, where=lambda one: one == hit)),
    }


async def _fire_half(built: Target, outcome: Outcome, shots: Iterator[Shot], *, rate: float) -> None:
    for _ in range(_STEPS):
        await built.gun.fire(islice(shots, -(-outcome.plan.count // 2 // _STEPS)), rate=rate)
        outcome.memory.append(built.memory())
    await until_settled(built.bus, built.store)
    outcome.memory.append(built.memory())


async def _break(built: Target, shots: Iterator[Shot], rate: float) -> None:
    """Go on while a subscriber's queue refuses events, and while the store does not answer. Nobody's time is taken."""
    clogged = asyncio.create_task(built.gun.clog(built.topology.events, seconds=_BROKEN_SECONDS))
    await built.gun.fire(islice(shots, 10), rate=rate)
    await clogged
    await asyncio.to_thread(built.backends.store.pause)
    try:
        await built.gun.fire(shots, rate=rate)
        await asyncio.sleep(_BROKEN_SECONDS)
    finally:
        await asyncio.to_thread(built.backends.store.resume)
    await until_settled(built.bus, built.store)


async def _judge(built: Target, outcome: Outcome) -> None:
    queues = await left_in(built.backends.broker, built.backends.vhost)
    await until_settled(built.bus, built.store)  # What workers held a moment ago may be owed now.
    outcome.left = [f"{one.queue}: {one.ready} + {one.unacked}" for one in queues if one.ready or one.unacked]
    outcome.ledger = await reckon(built.gun.sent, built.gun.replies, built.store, built.bus)
    events = [event for event in built.recorder.events if (event.partitionkey, event.data.cause) in built.load.first_at]
    good = check(await read_evidence(built.store, built.load.published, events=events))
    outcome.good_sent = len(built.load.first_at)
    outcome.good_lost = good.lost
    outcome.violated = [f"{one.invariant}: {example}" for one in good.findings for example in one.examples[:2]]


def _quantiles(seconds: list[float]) -> dict[str, float]:
    at = {"p50": 50, "p95": 95, "p99": 99, "max": 100}
    return {name: milliseconds(percentile(seconds, percent)) for name, percent in at.items()} if seconds else {}
