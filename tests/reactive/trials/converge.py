"""Linked sessions converge although sync workers are killed and every event comes up to 3 times, shuffled."""

from dataclasses import dataclass
from functools import partial
from typing import Final

from agentbus.contracts.clock import SystemClock
from agentbus.contracts.sync import ConflictStrategy, SyncPolicy
from agentbus.workers.sync.handler import TOPICS
from agentbus.workers.sync.policies import Policies
from agentbus.workers.sync.worker import SUBSCRIPTION
from tests.reactive.inside import DETOUR
from tests.reactive.inside.failpoints import Failpoint
from tests.reactive.system.crew import Dying
from tests.reactive.system.detour import Detour
from tests.reactive.system.stage import Stage
from tests.reactive.trial import Result, Trial
from tests.reactive.trials.people import LINKED, PLATFORMS, Changes, all_alike, differing, merges_in, people

STRATEGIES: Final = (ConflictStrategy.LATEST_WINS, ConflictStrategy.SOURCE_PRIORITY, ConflictStrategy.MERGE)
"""Those that settle by themselves; the identities have them in turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much of it."""

    identities: int
    rate: float
    """Changes a second."""
    seconds: float
    kill_every: float
    """Mean seconds between kills."""
    patience: float = 180.0


async def run(stage: Stage, size: Size, result: Result) -> None:
    """Change, kill, repeat and shuffle; then compare."""
    everybody = await people(stage, size.identities)
    policies = Policies(stage.store, SystemClock())
    for number, person in enumerate(everybody):
        strategy = STRATEGIES[number % len(STRATEGIES)]
        await policies.keep(person.identity, SyncPolicy(strategy=strategy, priority=PLATFORMS))
    await stage.crew.start(2)
    await stage.crew.start(2, kind="sync", env=DETOUR)
    changes = Changes(stage, everybody)
    dying = Dying(kind="sync", points=(Failpoint.BEFORE_GIVE, Failpoint.AFTER_GIVE), every=size.kill_every, env=DETOUR)
    detour = Detour(stage.backends.amqp_url, stage.topology, SUBSCRIPTION, TOPICS, stage.random)
    async with detour:
        async with stage.crew.dying(dying, stage.random):
            await changes.publish(rate=size.rate, seconds=size.seconds)
        stage.say(f"{len(changes.made)} changes made, {len(stage.crew.kills)} kills; waiting for rest")
        converged = partial(all_alike, stage, everybody)
        rest = await stage.settled(converged, detour.queues, patience=size.patience)
    merges = merges_in(stage.recorder.events)
    differ = await differing(stage, everybody)
    result.figures |= {
        "identities": len(everybody),
        "changes": len(changes.made),
        "kills": len(stage.crew.kills),
        **{f"killed_{place}": count for place, count in stage.crew.died_at().items()},
        "events": detour.events,
        "deliveries": detour.copies,
        "merges_per_change": round(sum(merges.values()) / len(changes.made), 2),
        "differing": len(differ),
    }
    result.expect(not differ, f"linked sessions differ: {differ[:5]}")
    result.expect(rest, "the system did not come to rest")
    result.expect(bool(stage.crew.kills), "no worker was killed")
    result.expect(detour.copies > detour.events, "no event was repeated")
    for person in everybody:
        made = sum(change.identity == person.identity for change in changes.made.values())
        most = made * LINKED
        found = merges.get(person.identity, 0)
        result.expect(found <= most, f"{person.identity}: {found} merges for {made} changes: ping-pong")


TRIAL: Final = Trial(
    "converge",
    run,
    full=Size(identities=100, rate=20, seconds=180, kill_every=4),
    quick=Size(identities=12, rate=8, seconds=15, kill_every=3, patience=60),
)
