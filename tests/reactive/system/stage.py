"""What a trial runs on: a fresh virtual host and database, workers, and a record of what was announced."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from shutil import rmtree
from tempfile import mkdtemp
from typing import Final

from agentbus.contracts.errors import StoreUnavailable
from agentbus.workers.delivery.inputs import Inputs
from tests.harness.system.backends import Services
from tests.harness.system.queues import is_owed
from tests.harness.system.world import World, opened
from tests.reactive.system.crew import Crew

Say = Callable[[str], None]

_PARTITIONS: Final = 16
_STILL: Final = 2.0
"""Seconds without a new event and with all queues empty that count as the end."""
_POLL: Final = 0.2


@dataclass(kw_only=True)
class Stage(World):
    """What a trial finds."""

    commands: Inputs
    crew: Crew
    folder: Path
    random: Random
    say: Say

    async def settled(self, done: Callable[[], Awaitable[bool]], queues: Sequence[str], *, patience: float) -> bool:
        """Wait until `done` and then nothing happens any more; False if that does not come about in time.

        `queues` are those to be empty beside the partitions'.
        """
        deadline = time.monotonic() + patience
        still_since, seen = time.monotonic(), -1
        while time.monotonic() < deadline:
            count = len(self.recorder.events)
            if count != seen or not await self._is_at_rest(done, queues):
                still_since, seen = time.monotonic(), count
            elif time.monotonic() - still_since >= _STILL:
                return True
            await asyncio.sleep(_POLL)
        return False

    async def _is_at_rest(self, done: Callable[[], Awaitable[bool]], queues: Sequence[str]) -> bool:
        try:
            return await self._empty(queues) and not await is_owed(self.store) and await done()
        except StoreUnavailable:  # Those who look on are as busy as those who work: they look again.
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
    with services.fresh() as backends:
        async with (
            opened(backends, archive_url=archive_url(folder), partitions=_PARTITIONS) as world,
            Crew(folder, world.env) as crew,
        ):
            if record:
                await world.recorder.start()
            yield Stage(
                **vars(world),
                commands=Inputs(world.bus),
                crew=crew,
                folder=folder,
                random=Random(f"{seed}/{name}"),
                say=say,
            )
    if keep():
        say(f"the workers' logs are in {folder}")
    else:
        rmtree(folder)


def archive_url(folder: Path) -> str:
    """Return where the workers of a stage keep their archive."""
    return (folder / "archive").as_uri()
