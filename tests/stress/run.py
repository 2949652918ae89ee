"""A run: workers, users, a kill in the middle, and the reckoning."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Final

from agentbus.sessions import SessionSystem, SessionSystemConfig, StorageType
from tests.harness.system.fleet import Fleet, Worker
from tests.stress.audit import audit
from tests.stress.caller import Caller
from tests.stress.ledger import Ledger
from tests.stress.lives import guest_life, owner_life
from tests.stress.report import Report
from tests.stress.world import Plan, Slot, World, casting, furnish

PARTITIONS: Final = 8

_IMPATIENT: Final = 0.5
"""Seconds after which every second user gives up a call, to make it again under the same id with more patience."""

_DEAD_SECONDS: Final = 1.0
_PROGRESS_SECONDS: Final = 5.0

Say = Callable[[str], None]


async def run_stress(plan: Plan, amqp_url: str, mongo_url: str, folder: Path, say: Say) -> Report:
    """Let users work on two workers, kill one in the middle, start a new one, and check everything."""
    env = {
        "AGENTBUS_AMQP_URL": amqp_url,
        "AGENTBUS_STORE_URL": mongo_url,
        "AGENTBUS_PARTITIONS": str(PARTITIONS),
        "AGENTBUS_LOG_LEVEL": "info",
    }
    async with Fleet(folder, env) as workers:
        await workers.start(2)
        say("two workers run")
        async with _system(amqp_url, mongo_url, 30.0) as patient, _system(amqp_url, mongo_url, _IMPATIENT) as impatient:
            return await _work(plan, (patient, impatient), workers, say)


def _system(amqp_url: str, mongo_url: str, call_timeout: float) -> SessionSystem:
    return SessionSystem(
        SessionSystemConfig(
            storage_type=StorageType.MONGODB,
            storage_config={"url": mongo_url},
            amqp_url=amqp_url,
            partitions=PARTITIONS,
            call_timeout=call_timeout,
        )
    )


async def _work(plan: Plan, systems: Sequence[SessionSystem], workers: Fleet, say: Say) -> Report:
    random, ledger, world = Random(plan.seed), Ledger(), World()
    owners, others = casting(plan, random)
    callers = {
        user: Caller(user, systems[number // 2 % 2], systems[0], ledger, Random(f"{plan.seed} {user}"))
        for number, user in enumerate((*owners, *others))
    }
    owned = {owner: range(number, plan.sessions, len(owners)) for number, owner in enumerate(owners)}
    await asyncio.gather(*(furnish(world, callers[owner], owned[owner], others) for owner in owners))
    say(f"{len(world.slots)} sessions are there and shared")
    ledger.calls.clear()  # The figures are those of the users' work.
    begun = ledger.now()
    until = begun + plan.seconds
    lives = [
        owner_life(callers[owner], world, [slot for slot in world.slots if slot.owner == owner], others, until)
        for owner in owners
    ]
    lives += [guest_life(callers[user], world, _favourites(user, world, random), until) for user in others]
    background = [
        asyncio.create_task(_kill(random.choice(workers.running), workers, ledger, plan.seconds / 2, say)),
        asyncio.create_task(_tell(ledger, begun, say)),
    ]
    await asyncio.gather(*lives)
    seconds = ledger.now() - begun
    await background[0]
    background[1].cancel()
    say(f"{len(ledger.calls):,} calls; checking ...")
    await audit(systems[0], systems[0]._store, world.sessions, others, ledger)
    return Report(plan, seconds, len(world.sessions), ledger)


def _favourites(user: str, world: World, random: Random) -> list[Slot]:
    """Return sessions that a user was let into, and some others."""
    known = [slot for slot in world.slots if user in slot.guests]
    return random.sample(known, min(2, len(known))) + random.sample(world.slots, 1)


async def _kill(worker: Worker, workers: Fleet, ledger: Ledger, after: float, say: Say) -> None:
    """Kill a worker without a word, and start another one a little later."""
    await asyncio.sleep(after)
    ledger.killed_at = ledger.now()
    await workers.kill(worker)
    say("a worker was killed (SIGKILL)")
    await asyncio.sleep(_DEAD_SECONDS)
    await workers.start()
    ledger.revived_at = ledger.now()
    say("another worker was started")


async def _tell(ledger: Ledger, begun: float, say: Say) -> None:
    while True:
        await asyncio.sleep(_PROGRESS_SECONDS)
        breaches = sum(ledger.breaches.values())
        say(f"{ledger.now() - begun:3.0f} s: {len(ledger.calls):,} calls, {breaches} breaches")
