"""How long a change takes to the linked sessions under load, and that it goes there once and no further."""

from dataclasses import dataclass
from functools import partial
from typing import Final

from agentbus.workers.sync.worker import SUBSCRIPTION
from tests.reactive.system.stage import Stage
from tests.reactive.trial import Result, Trial, spread
from tests.reactive.trials.people import LINKED, Changes, all_alike, differing, merges_in, people


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much of it."""

    identities: int
    rate: float
    """Changes a second."""
    seconds: float
    patience: float = 180.0


async def run(stage: Stage, size: Size, result: Result) -> None:
    """Change at a steady rate, and see when each linked session has it."""
    everybody = await people(stage, size.identities)
    stage.say(f"{size.identities} identities with {LINKED} linked conversations each")
    await stage.crew.start(2)
    await stage.crew.start(2, kind="sync")
    changes = Changes(stage, everybody)
    await changes.publish(rate=size.rate, seconds=size.seconds, plain=True)
    touched = {change.identity for change in changes.made.values()}
    some = [person for person in everybody if person.identity in touched]
    stage.say(f"{len(changes.made)} changes made; waiting for rest")
    queue = stage.topology.subscription_queue(SUBSCRIPTION)
    rest = await stage.settled(partial(all_alike, stage, some), [queue], patience=size.patience)
    changes.note(stage.recorder.events, stage.recorder.times)
    made = list(changes.made.values())
    lags = [at - change.at for change in made for at in change.seen.values()]
    merges = merges_in(stage.recorder.events)
    differ = await differing(stage, some)
    result.figures |= {
        "identities": len(everybody),
        "changes": len(made),
        "changes_per_s": round(len(made) / max(0.001, made[-1].at - made[0].at), 1),
        "arrivals": len(lags),
        **spread("lag", lags),
        "merges_per_change": round(sum(merges.values()) / len(made), 2),
    }
    result.expect(rest, "the system did not come to rest")
    result.expect(not differ, f"linked sessions differ: {differ[:5]}")
    for identity in sorted(touched):
        count = sum(change.identity == identity for change in made)
        found = merges.get(identity, 0)
        result.expect(found <= count * (LINKED - 1), f"{identity}: {found} merges for {count} changes: ping-pong")
        result.expect(found >= LINKED - 1, f"{identity}: {found} merges: some linked session never had the change")


TRIAL: Final = Trial(
    "lag",
    run,
    full=Size(identities=10_000, rate=40, seconds=150),
    quick=Size(identities=200, rate=8, seconds=10, patience=60),
)
