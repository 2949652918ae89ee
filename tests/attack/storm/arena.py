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

import psutil  # type: ignore[import-untyped]  # its types are a package of their own

from agentbus.client import AgentBus
from agentbus.composition.app import make_bus, make_store
from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.errors import Reject
from agentbus.contracts.ids import Partition
from agentbus.settings import load_settings
from agentbus.storage.port import Store
from agentbus.workers.bus.port import Bus
from tests.attack.storm.gun import Gun
from tests.chaos.system.backends import Backends
from tests.chaos.system.fleet import Fleet, Worker
from tests.chaos.system.load import Load, Shape
from tests.chaos.system.recorder import Recorder
from tests.services import free_port

_CALM: Final = Shape(rate=30, users_per_partition=2, burst=0.1, repeats=0.0)
_SEPARATE: Final = 0.05
_PATIENCE: Final = 60.0


@dataclass
class Target:
    """Everything that a storm needs to know of what it hits."""

    backends: Backends
    bus: Bus
    store: Store
    fleet: Fleet
    load: Load
    recorder: Recorder
    gun: Gun
    ports: dict[str, int]

    @property
    def crashed(self) -> list[str]:
        """The workers that ended, though nobody asked them to."""
        return [worker.name for worker in self.fleet.workers if not worker.running and not worker.stopped_by_us]

    def memory(self) -> dict[str, int]:
        """Return how many bytes of memory each worker has."""
        return {worker.name: psutil.Process(worker.pid).memory_info().rss for worker in self.fleet.running}

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
            if since <= published < until and key in firsts and where(self.bus.topology.partition_of(key[0]))
        )

    async def flowing(self) -> None:
        """Wait until every partition's good users have been heard. Raises TimeoutError."""
        partitions = set(self.bus.topology.all_partitions())
        async with asyncio.timeout(_PATIENCE):
            while {self.bus.topology.partition_of(event.partitionkey) for event in self.recorder.events} != partitions:
                await asyncio.sleep(_SEPARATE)


@asynccontextmanager
async def target(
    backends: Backends, folder: Path, *, seed: str, partitions: int, workers: int
) -> AsyncIterator[Target]:
    """Start everything and wait until good traffic flows."""
    settings = load_settings(amqp_url=backends.amqp_url, store_url=backends.store_url, partitions=partitions)
    user = urlsplit(backends.amqp_url).username or "guest"
    env = {
        "AGENTBUS_COMMAND_USERS": user,
        "AGENTBUS_AMQP_URL": backends.amqp_url,
        "AGENTBUS_STORE_URL": backends.store_url,
        "AGENTBUS_PARTITIONS": str(partitions),
        "AGENTBUS_LOG_FORMAT": "json",
    }
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(make_store(settings))
        publishing, receiving = [await stack.enter_async_context(make_bus(settings)) for _ in range(2)]
        await publishing.declare()
        subscriber = AgentBus(receiving)
        recorder = Recorder(subscriber)
        subscriber.on("session.started.*", durable="broken")(_refuse)
        stack.push_async_callback(subscriber.close)
        await recorder.start()
        fleet = await stack.enter_async_context(Fleet(folder, env))
        ports = await _start(fleet, workers)
        load = Load(AgentBus(publishing), publishing.topology, _CALM, Random(seed))
        gun = await stack.enter_async_context(Gun(backends.amqp_url, user=user))
        built = Target(backends, publishing, store, fleet, load, recorder, gun, ports)
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
        program = ("-m", "agentbus", "worker", kind, "--http-port", str(port))
        started.append(fleet.launch(program=program))
        ports[started[-1].name] = port
        await asyncio.sleep(_SEPARATE)
    for worker in started:
        await fleet.until_ready(worker)
    return ports


def _fetch(port: int) -> str:
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=_PATIENCE) as answer:
        text: str = answer.read().decode()
    return text
