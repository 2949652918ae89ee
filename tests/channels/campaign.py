"""One campaign: processes as users run them, people who write to them, and one of each kind that is killed."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agentbus.client import AgentBus
from agentbus.contracts.urls import LOOPBACK
from agentbus.storage.port import Store
from agentbus.storage.reading import iter_parked
from tests.channels.bot import Bot
from tests.channels.crowd import Crowd
from tests.channels.people import Plan, fated, people, settled
from tests.channels.reckoning import Reckoning
from tests.harness.system.backends import Services
from tests.harness.system.fleet import WORKER, Fleet, Worker
from tests.harness.system.world import World, opened
from tests.harness.usage import cpu_seconds
from tests.platforms.serving import served
from tests.services import free_port

IMPATIENT: Final = ("-m", "tests.channels.impatient")
"""A program whose outbound worker asks platforms sooner."""

_GATEWAYS: Final = 2
_OTHERS: Final = ("session", "session", "session", "outbound", "outbound")
_FAULTS: Final = (("gateway", 0.15), ("outbound", 0.3), ("session", 0.45), ("broker", 0.6))
"""What is killed, and how much is written by then."""
_MEANWHILE: Final = 0.15
"""How much may be written while it is."""
_EXPECTED: Final = frozenset({429, 503})
"""What a gateway may answer beside 2xx: the platform comes again."""
_PROGRESS: Final = 15.0

Say = Callable[[str], None]


@dataclass(slots=True)
class Outcome:
    """What a campaign came to."""

    reckoning: Reckoning
    seconds: float = 0.0
    parked: list[str] = field(default_factory=list)
    crashed: list[str] = field(default_factory=list)
    early: int = 0
    """Answers that came to a chat while its platform had asked for none."""
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    """Of a processor, that each kind of process had used: those at work at the end, and this one, `people`."""
    answers: dict[int, int] = field(default_factory=dict)
    """How often gateways answered what; 0: not at all, or not in time."""

    def problems(self) -> list[str]:
        """Say what did not hold."""
        found = list(self.reckoning.examples)
        if self.reckoning.waiting:
            found.append(f"{self.reckoning.waiting} replies still wait, or were never asked for")
        if self.early:
            found.append(f"{self.early} answers were sent while the platform had asked for none")
        found += [f"parked: {one}" for one in self.parked] + [f"ended by itself: {one}" for one in self.crashed]
        odd = {status: count for status, count in self.answers.items() if status >= 300 and status not in _EXPECTED}
        return found + [f"a gateway answered {status}, {count} times" for status, count in odd.items()]

    def figures(self) -> dict[str, int]:
        """Return what is counted, all channels together."""
        return self.reckoning.total | {
            "replies_waiting": self.reckoning.waiting,
            "replies_early": self.early,
            "parked": len(self.parked),
            "crashed": len(self.crashed),
        }


@dataclass(slots=True)
class _Site:
    """Processes at work."""

    world: World
    fleet: Fleet
    ports: list[int]
    """Of the gateways."""

    @property
    def gateways(self) -> list[str]:
        return [f"http://{LOOPBACK}:{port}" for port in self.ports]

    def launch_gateway(self, port: int) -> Worker:
        return self.fleet.launch("gateway", env={"AGENTBUS_GATEWAY_PORT": str(port)})

    async def replace(self, kind: str) -> None:
        """Kill the oldest process of a kind, and start another one in its place."""
        victim = next(one for one in self.fleet.running if one.kind == kind)
        await self.fleet.kill(victim)
        # The first gateway has the first port.
        started = self.launch_gateway(self.ports[0]) if kind == "gateway" else self.fleet.launch(kind)
        await self.fleet.until_ready(started)


async def campaign(services: Services, plan: Plan, folder: Path, say: Say) -> Outcome:
    """Have everybody write, break what is to be broken, and reckon up."""
    begun = time.monotonic()
    platforms = fated(plan)
    with services.fresh() as backends:
        async with AsyncExitStack() as stack:
            api = await stack.enter_async_context(served(platforms))
            accounts = {one.name: {"bot": one.account(f"{api}/{one.name}")} for one in platforms}
            settings = {"partitions": plan.partitions, "replies_in_doubt": plan.in_doubt.value}
            world = await stack.enter_async_context(opened(backends, channels=json.dumps(accounts), **settings))
            site = await stack.enter_async_context(_built(world, plan, folder))
            client = AgentBus(world.bus)
            stack.push_async_callback(client.close)
            crowd, postman, bot = await stack.enter_async_context(people(platforms, site.gateways, client, plan))
            say(f"channels: {crowd.count} messages of {plan.people} people on each of {len(platforms)} platforms ...")
            async with asyncio.TaskGroup() as tasks:
                telling = tasks.create_task(_tell_progress(crowd, bot, say))
                await asyncio.gather(crowd.write(), _break(site, crowd, plan, say))
                telling.cancel()
            say("channels: all is written; waiting for the end of what is under way ...")
            outcome = Outcome(await settled(world.store, world.topology, crowd, plan))
            outcome.parked = await what_is_parked(world.store)
            outcome.crashed = [worker.name for worker in site.fleet.crashed]
            outcome.answers = dict(postman.answers) | {0: postman.broken}
            outcome.early = sum(one.early for one in platforms)
            outcome.cpu_seconds = _used(site.fleet)
            await site.fleet.stop(*site.fleet.running)
    outcome.seconds = time.monotonic() - begun
    return outcome


@asynccontextmanager
async def _built(world: World, plan: Plan, folder: Path) -> AsyncIterator[_Site]:
    """Start all processes."""
    program = IMPATIENT if plan.impatient else WORKER
    async with Fleet(folder, world.env, program) as fleet:
        site = _Site(world, fleet, [free_port() for _ in range(_GATEWAYS)])
        started = [site.launch_gateway(port) for port in site.ports]
        started += [fleet.launch(kind) for kind in _OTHERS]
        for worker in started:
            await fleet.until_ready(worker)
        yield site


async def _break(site: _Site, crowd: Crowd, plan: Plan, say: Say) -> None:
    """Kill one of each kind in turn, and at last the broker, which is down for a while, as people write."""
    for what, share in _FAULTS:
        crowd.open_to = share + _MEANWHILE
        await crowd.until(share)
        if what == "broker":
            say(f"channels: {share:.0%} is written; the broker is killed, and down for {plan.outage:g} s")
            await _outage(site, plan.outage)
        else:
            say(f"channels: {share:.0%} is written; one {what} worker of several is killed")
            await site.replace(what)
    say("channels: everything is there again")
    crowd.open_to = 1.0


async def _outage(site: _Site, seconds: float) -> None:
    broker = site.world.backends.broker
    await asyncio.to_thread(broker.kill)
    await asyncio.sleep(seconds)
    await asyncio.to_thread(broker.start)


async def _tell_progress(crowd: Crowd, bot: Bot, say: Say) -> None:
    while True:
        await asyncio.sleep(_PROGRESS)
        there = sum(len(one.taken) for one in crowd.platforms)
        say(f"channels: {crowd.settled} of {crowd.count} written, {len(bot.answered)} answered, {there} answers there")


def _used(fleet: Fleet) -> dict[str, float]:
    kinds = sorted({one.kind for one in fleet.running})
    used = {kind: cpu_seconds(one.pid for one in fleet.running if one.kind == kind) for kind in kinds}
    return {kind: round(seconds, 1) for kind, seconds in (used | {"people": cpu_seconds([os.getpid()])}).items()}


async def what_is_parked(store: Store) -> list[str]:
    """Return what is parked, and why."""
    return [f"{one.queue} {one.message_id}: {one.reason}" async for one in iter_parked(store)]
