"""One storm: calm, then hostile messages by the thousand, then a reckoning."""

import asyncio
import time
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

from agentbus.testing import check, read_evidence
from tests.attack.crafted.hostile import Hostile
from tests.attack.storm.arena import Target, target
from tests.attack.storm.ledger import Fate, Ledger, reckon
from tests.chaos.system.backends import Kind, Services
from tests.chaos.system.queues import left_in, until_empty

MOST_LINES: Final = 500
"""Lines that the workers' logs may grow by, together, however many messages are parked."""
MOST_GROWTH: Final = 1.6
"""Times the memory that a worker had when a tenth of the storm was over: caches fill up to their bounds meanwhile."""
_CALM_SECONDS: Final = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How hard a storm hits."""

    count: int
    rate: float
    """Hostile messages a second, as far as the broker takes them."""
    seed: str
    partitions: int = 8
    workers: int = 2


@dataclass(slots=True)
class Outcome:
    """What a storm came to."""

    plan: Plan
    ledger: Ledger = field(default_factory=Ledger)
    sending_seconds: float = 0.0
    seconds: float = 0.0
    """Until nothing was left in any queue."""
    good_sent: int = 0
    good_lost: int = 0
    violated: list[str] = field(default_factory=list)
    """What the checker found among the good messages: lost, doubled, reordered, not announced."""
    calm_ms: dict[str, float] = field(default_factory=dict)
    storm_ms: dict[str, float] = field(default_factory=dict)
    restarts: int = 0
    rss_growth: float = 0.0
    rss_mb: float = 0.0
    log_lines: int = 0
    counted: dict[str, float] = field(default_factory=dict)
    """What the workers' metrics counted."""
    left: list[str] = field(default_factory=list)

    def problems(self) -> list[str]:
        """Say what did not hold."""
        unaccounted, recorded = self.ledger.fates[Fate.UNACCOUNTED], self.counted.get("recorded", 0.0)
        checks = {
            f"{unaccounted} hostile messages are unaccounted for": unaccounted,
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
            "good_sent": self.good_sent,
            "good_lost": self.good_lost,
            "good_p99_ms": self.storm_ms.get("p99", 0.0),
            "calm_p99_ms": self.calm_ms.get("p99", 0.0),
            "restarts": self.restarts,
            "rss_growth": round(self.rss_growth, 2),
            "log_lines": self.log_lines,
            "hostile_per_s": round(sum(fates.values()) / self.seconds) if self.seconds else 0,
        }


async def run_storm(services: Services, plan: Plan, folder: Path) -> Outcome:
    """Let a storm come down on a new virtual host and a new database, and reckon up."""
    outcome = Outcome(plan)
    with services.fresh(Kind.SINGLE) as backends:
        async with target(backends, folder, seed=plan.seed, partitions=plan.partitions, workers=plan.workers) as built:
            await _hit(built, plan, outcome)
            await _judge(built, outcome)
            await built.fleet.stop(*built.fleet.running)
    return outcome


async def _hit(built: Target, plan: Plan, outcome: Outcome) -> None:
    calm = time.monotonic()
    await asyncio.sleep(_CALM_SECONDS)
    lines = sum(built.log_lines().values())
    shots = Hostile(built.bus.topology, plan.seed).shots(plan.count)
    begun = time.monotonic()
    await built.gun.fire(islice(shots, plan.count // 10), rate=plan.rate)
    before = built.memory()
    await built.gun.fire(shots, rate=plan.rate)
    outcome.sending_seconds = time.monotonic() - begun
    await until_empty(built.bus, built.bus.topology)
    over = time.monotonic()
    await built.load.stop()
    await until_empty(built.bus, built.bus.topology)
    outcome.seconds = over - begun
    outcome.restarts = len(built.crashed)
    after = built.memory()
    outcome.rss_growth = max((after[name] / before[name] for name in before.keys() & after.keys()), default=0.0)
    outcome.rss_mb = max(after.values(), default=0) / 1e6
    outcome.log_lines = sum(built.log_lines().values()) - lines
    outcome.counted = await built.counted()
    outcome.calm_ms = _quantiles(built.waits(since=calm, until=begun))
    outcome.storm_ms = _quantiles(built.waits(since=begun, until=over))


async def _judge(built: Target, outcome: Outcome) -> None:
    queues = await left_in(built.backends.broker, built.backends.vhost)
    outcome.left = [f"{one.queue}: {one.ready} + {one.unacked}" for one in queues if one.ready or one.unacked]
    outcome.ledger = await reckon(built.gun.sent, built.gun.replies, built.store, built.bus)
    events = [event for event in built.recorder.events if (event.partitionkey, event.data.cause) in built.load.first_at]
    good = check(await read_evidence(built.store, built.load.published, events=events))
    outcome.good_sent = len(built.load.first_at)
    outcome.good_lost = good.lost
    outcome.violated = [f"{one.invariant}: {example}" for one in good.findings for example in one.examples[:2]]


def _quantiles(seconds: list[float]) -> dict[str, float]:
    if not seconds:
        return {}
    at = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {
        name: round(1000 * seconds[min(len(seconds) - 1, int(share * len(seconds)))], 1) for name, share in at.items()
    }
