"""Workers that die: kill -9 in the middle of a round."""

import asyncio
import time
from functools import partial

from tests.chaos.faults.fault import Fault
from tests.chaos.inside.failpoints import Failpoint
from tests.chaos.system.arena import Arena, Injection
from tests.harness.failpoints import arm


async def die_at(point: Failpoint, arena: Arena) -> Injection:
    """Let a worker kill itself the next few times it comes by `point`."""
    victim = arena.victim()
    partitions = arena.sampler.owned_by(victim.name)
    arm(arena.fleet.folder, victim.name, point, hit=arena.random.randint(1, 5))
    victim.stopped_by_us = True
    await arena.fleet.gone(victim)
    return Injection(arena.fleet.deaths[victim.name], partitions)


async def kill_any(arena: Arena) -> Injection:
    """SIGKILL a worker at whatever it does."""
    victim = arena.victim()
    partitions = arena.sampler.owned_by(victim.name)
    at = time.monotonic()
    await arena.fleet.kill(victim)
    await asyncio.sleep(0)
    return Injection(at, partitions)


CRASHES = tuple(
    Fault(name=f"kill_{point}", inject=partial(die_at, point), quick=point is not Failpoint.BEFORE_APPEND)
    for point in Failpoint
)
