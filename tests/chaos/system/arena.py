"""A whole AgentBus under load: workers, publishers, subscribers and observers."""

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from agentbus.client import AgentBus
from agentbus.contracts.errors import StoreError
from agentbus.contracts.ids import Partition
from agentbus.testing import SETTLE, Evidence, Verdict, ZombieWindow, check, read_evidence
from tests.chaos.inside import ON_TRIAL
from tests.chaos.system.evidence import read_handlings
from tests.chaos.system.proxy import Proxy
from tests.chaos.system.sampler import Sampler
from tests.harness.system.backends import Backends, Kind, Services
from tests.harness.system.fleet import Fleet, Worker
from tests.harness.system.load import CALM, Load, Shape
from tests.harness.system.queues import left_in, until_settled
from tests.harness.system.world import World, opened

HEARTBEAT: Final = 2
"""Seconds between AMQP heartbeats."""

_RECOVERY_SECONDS: Final = 60.0
_POLL: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What an arena consists of."""

    workers: int = 2
    partitions: int = 8
    kind: Kind = Kind.SINGLE
    shape: Shape = CALM
    proxied: bool = False
    """Whether each worker reaches broker and store through proxies of its own."""
    env: Mapping[str, str] = field(default_factory=dict)
    first_env: Mapping[str, str] = field(default_factory=dict)
    """What the first worker has beside or instead of `env`."""


@dataclass(frozen=True, slots=True)
class Injection:
    """A fault that was just brought about."""

    at: float
    """What recovery is counted from."""
    partitions: Collection[Partition] | None = None
    """Those that it hits; None: all."""


class NotRecovered(Exception):
    """Some partitions did not go on in time."""


@dataclass(kw_only=True)
class Arena(World):
    """What a fault finds, and what is seen of it."""

    layout: Layout
    fleet: Fleet
    load: Load
    sampler: Sampler
    random: Random
    proxies: dict[str, tuple[Proxy, Proxy]] = field(default_factory=dict)
    """Those between a worker and the broker, and between it and the store."""
    zombies: list[ZombieWindow] = field(default_factory=list)
    poison: set[str] = field(default_factory=set)
    """Ids of the inputs that are to be parked."""

    def victim(self) -> Worker:
        """Choose a worker that owns something, if there is one."""
        running = self.fleet.running
        owners = [worker for worker in running if self.sampler.owned_by(worker.name)]
        return self.random.choice(owners or running)

    def expect_zombie(self, worker: Worker | None, start: float, end: float) -> None:
        """Note that `worker` (None: any) may not know from `start` to `end` that others have taken over."""
        self.zombies.append(ZombieWindow(worker.name if worker else None, start, end))

    async def recovered(self, injection: Injection) -> list[float]:
        """Wait until every partition hit has announced something published after the fault; return after how long.

        Raises NotRecovered.
        """
        hit = injection.partitions
        missing = set(self.topology.all_partitions() if hit is None else hit)
        seconds: dict[Partition, float] = {}
        seen = 0
        while missing:
            if time.monotonic() - injection.at > _RECOVERY_SECONDS:
                raise NotRecovered(f"partitions {sorted(missing)} did not go on within {_RECOVERY_SECONDS:g} s")
            for position, event in enumerate(self.recorder.events[seen:], start=seen):
                seen = position + 1
                partition = self.topology.partition_of(event.partitionkey)
                published = self.load.first_at.get((event.partitionkey, event.data.cause), 0.0)
                if partition in missing and published >= injection.at:
                    missing.remove(partition)
                    seconds[partition] = self.recorder.times[position] - injection.at
            await asyncio.sleep(_POLL)
        return list(seconds.values())

    async def balanced(self) -> None:
        """Wait until the running workers own all partitions, evenly. Raises NotRecovered."""
        begun = time.monotonic()
        while time.monotonic() - begun < SETTLE:
            with suppress(StoreError):
                sample = await self.sampler.look()
                counts = [len(owned) for owned in sample.owned.values()]
                everyone = set(sample.owned) == {worker.name for worker in self.fleet.running}
                if everyone and sum(counts) == self.topology.partitions and max(counts) - min(counts) <= 1:
                    return
            await asyncio.sleep(_POLL)
        raise NotRecovered(f"partitions are not spread evenly after {SETTLE:g} s: {sample.owned}")

    async def fill_up(self) -> None:
        """Start workers until there are as many as at the beginning."""
        await self.fleet.start(max(0, self.layout.workers - len(self.fleet.running)))

    async def verdict(self, *, settle: float | None) -> tuple[Verdict, Evidence]:
        """End the load, let everything come to rest, and check it. `settle`: seconds of rest for the balance."""
        if settle is not None:
            await asyncio.sleep(max(0.0, max(self.fleet.changes) + settle + 1.0 - time.monotonic()))
        await self.load.stop()
        await until_settled(self.bus, self.store)
        queues = await left_in(self.backends.broker, self.backends.vhost)
        await until_settled(self.bus, self.store)  # What workers held a moment ago may be owed now.
        await self.sampler.stop()
        await self.fleet.stop(*self.fleet.running)
        evidence = await read_evidence(
            self.store,
            self.load.published,
            events=self.recorder.events,
            handlings=read_handlings(self.fleet.folder, self.fleet.deaths),
            zombies=self.zombies,
            ownership=self.sampler.samples,
            changes=self.fleet.changes,
            partitions=self.topology.partitions,
            queues=queues,
        )
        return check(evidence), evidence


@asynccontextmanager
async def arena(services: Services, layout: Layout, folder: Path, seed: str) -> AsyncIterator[Arena]:
    """Build an arena, start workers and load, and wait until everything flows."""
    with services.fresh(layout.kind) as backends:
        async with AsyncExitStack() as stack:
            built = await _build(stack, backends, layout, folder, Random(seed))
            await _start_workers(stack, built)
            built.sampler.start()
            stack.push_async_callback(built.sampler.stop)
            built.load.start()
            await built.recovered(Injection(time.monotonic()))
            yield built


async def _build(stack: AsyncExitStack, backends: Backends, layout: Layout, folder: Path, random: Random) -> Arena:
    amqp_url = backends.amqp_url
    if len(backends.brokers) > 1:
        balancer = await stack.enter_async_context(Proxy(*backends.broker_addresses))
        amqp_url = backends.amqp_url_at(balancer.port)
    world = await stack.enter_async_context(
        opened(backends, amqp_url=amqp_url, partitions=layout.partitions, heartbeat=HEARTBEAT, publish_timeout=5)
    )
    await world.recorder.start()
    for broker in backends.brokers:
        await asyncio.to_thread(broker.sync)
    fleet = await stack.enter_async_context(Fleet(folder, {**world.env, **layout.env}, ON_TRIAL))
    return Arena(
        **vars(world),
        layout=layout,
        fleet=fleet,
        load=Load(AgentBus(world.bus), world.topology, layout.shape, random),
        sampler=Sampler(world.store, world.topology.prefix, fleet, ttl=world.settings.session.worker_ttl),
        random=random,
    )


async def _start_workers(stack: AsyncExitStack, built: Arena) -> None:
    if not built.layout.proxied:
        first = built.fleet.launch(env=built.layout.first_env)
        await built.fleet.start(built.layout.workers - 1)
        await built.fleet.until_ready(first)
        return
    for _ in range(built.layout.workers):
        to_broker = await stack.enter_async_context(Proxy(*built.backends.broker_addresses))
        to_store = await stack.enter_async_context(Proxy(built.backends.store_address))
        urls = {
            "AGENTBUS_AMQP_URL": built.backends.amqp_url_at(to_broker.port),
            "AGENTBUS_STORE_URL": built.backends.store_url_at(to_store.port),
        }
        (worker,) = await built.fleet.start(env=urls)
        built.proxies[worker.name] = (to_broker, to_store)
