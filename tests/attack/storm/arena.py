"""What a storm comes down on: session workers and a router as users run them, good traffic, and who watches."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final
from urllib.parse import urlsplit
from urllib.request import urlopen

from agentbus.client import AgentBus
from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.errors import Reject
from agentbus.contracts.ids import Partition
from tests.attack.storm.gun import Gun
from tests.harness.system.backends import Backends
from tests.harness.system.fleet import Fleet, Worker
from tests.harness.system.load import Load, Shape
from tests.harness.system.world import World, opened
from tests.harness.usage import resident_bytes
from tests.services import free_port

_CALM: Final = Shape(rate=30, users_per_partition=2, burst=0.1, repeats=0.0)
_SEPARATE: Final = 0.05
_PATIENCE: Final = 60.0


@dataclass(kw_only=True)
class Target(World):
    """Everything that a storm needs to know of what it hits."""

    fleet: Fleet
    load: Load
    gun: Gun
    ports: dict[str, int]

    def memory(self) -> dict[str, int]:
        """Return how many bytes of memory each worker has."""
        return {worker.name: resident_bytes(worker.pid) for worker in self.fleet.running}

    def log_lines(self) -> dict[str, int]:
        """Return how many lines each worker has written into its log."""
        return {worker.name: worker.log.read_bytes().count(b"\n") for worker in self.fleet.workers}

    async def counted(self) -> dict[str, float]:
        """Return what the workers' metrics say of inputs, all together: by outcome, and `recorded` as parked."""
        texts = [await asyncio.to_thread(_fetch, port) for port in self.ports.values()]
        total: dict[str, float] = {}
        for line in (line for text in texts for line in text.splitlines()):
            if line.startswith("agentbus_inputs_total{"):
                outcome, value = line.split('"')[1], float(line.rpartition(" ")[2])
                total[outcome] = total.get(outcome, 0.0) + value
            elif line.startswith("agentbus_parked_total "):
                total["recorded"] = total.get("recorded", 0.0) + float(line.rpartition(" ")[2])
        return total

    def waits(self, *, since: float, until: float, where: Callable[[Partition], bool] = lambda _: True) -> list[float]:
        """Return the seconds that each good message of some time and place took from being published to its event."""
        firsts: dict[tuple[str, str], float] = {}
        for event, at in zip(self.recorder.events, self.recorder.times, strict=True):
            firsts.setdefault((event.partitionkey, event.data.cause), at)
        return sorted(
            firsts[key] - published
            for key, published in self.load.first_at.items()
            if since <= published < until and key in firsts and where(self.topology.partition_of(key[0]))
        )

    async def flowing(self) -> None:
        """Wait until every partition's good users have been heard. Raises TimeoutError."""
        partitions = set(self.topology.all_partitions())
        async with asyncio.timeout(_PATIENCE):
            while {self.topology.partition_of(event.partitionkey) for event in self.recorder.events} != partitions:
                await asyncio.sleep(_SEPARATE)


@asynccontextmanager
async def target(
    backends: Backends, folder: Path, *, seed: str, partitions: int, workers: int
) -> AsyncIterator[Target]:
    """Start everything and wait until good traffic flows."""
    user = urlsplit(backends.amqp_url).username or "guest"
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(opened(backends, partitions=partitions))
        world.recorder.client.on("session.started.*", durable="broken")(_refuse)
        await world.recorder.start()
        env = {**world.env, "AGENTBUS_COMMAND_USERS": user}
        fleet = await stack.enter_async_context(Fleet(folder, env))
        ports = await _start(fleet, workers)
        load = Load(AgentBus(world.bus), world.topology, _CALM, Random(seed))
        gun = await stack.enter_async_context(Gun(backends.amqp_url, user=user))
        built = Target(**vars(world), fleet=fleet, load=load, gun=gun, ports=ports)
        load.start()
        await built.flowing()
        yield built


async def _refuse(event: EventEnvelope) -> None:
    """Handle an event as a subscriber does that is broken: each is parked."""
    raise Reject(f"cannot handle {event.id}")


async def _start(fleet: Fleet, workers: int) -> dict[str, int]:
    """Start session workers and a router; return the ports of their metrics."""
    ports: dict[str, int] = {}
    started: list[Worker] = []
    for kind in ["session"] * workers + ["ingress"]:
        port = free_port()
        started.append(fleet.launch(kind, options=("--http-port", str(port))))
        ports[started[-1].name] = port
        await asyncio.sleep(_SEPARATE)
    for worker in started:
        await fleet.until_ready(worker)
    return ports


def _fetch(port: int) -> str:
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=_PATIENCE) as answer:
        text: str = answer.read().decode()
    return text
