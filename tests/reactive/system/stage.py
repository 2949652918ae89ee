"""What a trial runs on: a fresh virtual host and database, workers, and a record of what was announced."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from shutil import rmtree
from tempfile import mkdtemp
from typing import Final

from agentbus.client import AgentBus
from agentbus.composition.app import make_bus, make_store
from agentbus.contracts.topology import Topology
from agentbus.settings import Settings, load_settings
from agentbus.storage.port import Store
from agentbus.workers.bus.port import Bus
from agentbus.workers.delivery.inputs import Inputs
from tests.chaos.system.backends import Kind, Services
from tests.chaos.system.queues import is_owed
from tests.chaos.system.recorder import Recorder
from tests.reactive.system.crew import Crew

Say = Callable[[str], None]

_PARTITIONS: Final = 16
_STILL: Final = 2.0
"""Seconds without a new event and with all queues empty that count as the end."""
_POLL: Final = 0.2


@dataclass
class Stage:
    """What a trial finds."""

    amqp_url: str
    settings: Settings
    topology: Topology
    bus: Bus
    store: Store
    commands: Inputs
    crew: Crew
    folder: Path
    random: Random
    say: Say
    recorder: Recorder | None = None

    async def settled(self, done: Callable[[], Awaitable[bool]], queues: Sequence[str], *, patience: float) -> bool:
        """Wait until `done` and then nothing happens any more; False if that does not come about in time.

        `queues` are those to be empty beside the partitions'.
        """
        deadline = time.monotonic() + patience
        still_since, seen = time.monotonic(), -1
        while time.monotonic() < deadline:
            count = len(self.recorder.events) if self.recorder else 0
            if count != seen or not await self._empty(queues) or await is_owed(self.store) or not await done():
                still_since, seen = time.monotonic(), count
            elif time.monotonic() - still_since >= _STILL:
                return True
            await asyncio.sleep(_POLL)
        return False

    async def _empty(self, queues: Sequence[str]) -> bool:
        names = [self.topology.partition_queue(partition) for partition in self.topology.all_partitions()]
        depths = await asyncio.gather(*(self.bus.depth(name) for name in (*names, *queues)))
        return not any(depth.ready for depth in depths)


@asynccontextmanager
async def stage(
    services: Services, name: str, seed: int, *, say: Say, keep: Callable[[], bool], record: bool = True
) -> AsyncIterator[Stage]:
    """Build a stage without workers. Its folder, with their logs, stays if `keep` says so at the end, or an error."""
    folder = Path(mkdtemp(prefix=f"agentbus-reactive-{name}-"))
    with services.fresh(Kind.SINGLE) as backends:
        async with AsyncExitStack() as stack:
            env = {
                "AGENTBUS_AMQP_URL": backends.amqp_url,
                "AGENTBUS_STORE_URL": backends.store_url,
                "AGENTBUS_ARCHIVE_URL": archive_url(folder),
                "AGENTBUS_PARTITIONS": str(_PARTITIONS),
                "AGENTBUS_LOG_FORMAT": "json",
            }
            settings = load_settings(amqp_url=backends.amqp_url, store_url=backends.store_url, partitions=_PARTITIONS)
            store = await stack.enter_async_context(make_store(settings))
            bus, receiving = [await stack.enter_async_context(make_bus(settings)) for _ in range(2)]
            await bus.declare()
            crew = await stack.enter_async_context(Crew(folder, env))
            built = Stage(
                amqp_url=backends.amqp_url,
                settings=settings,
                topology=settings.bus.topology,
                bus=bus,
                store=store,
                commands=Inputs(bus),
                crew=crew,
                folder=folder,
                random=Random(f"{seed}/{name}"),
                say=say,
            )
            if record:
                subscriber = AgentBus(receiving)
                stack.push_async_callback(subscriber.close)
                built.recorder = Recorder(subscriber)
                await built.recorder.start()
            yield built
    if keep():
        say(f"the workers' logs are in {folder}")
    else:
        rmtree(folder)


def archive_url(folder: Path) -> str:
    """Return where the workers of a stage keep their archive."""
    return (folder / "archive").as_uri()
