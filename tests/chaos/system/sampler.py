"""The ownership sampler: asks the store again and again which worker says it owns what."""

import asyncio
import time
from typing import Final

from agentbus.contracts.errors import StoreError
from agentbus.contracts.ids import Partition
from agentbus.contracts.members import Member, WorkerStatus
from agentbus.storage.port import Store
from agentbus.testing import Ownership
from tests.harness.system.fleet import Fleet

INTERVAL: Final = 0.25


class Sampler:
    """Keeps a sample for each look at the members; while the store does not answer there is none."""

    def __init__(self, store: Store, group: str, fleet: Fleet, *, ttl: float) -> None:
        self._store = store
        self._group = group
        self._fleet = fleet
        self._ttl = ttl
        self._task: asyncio.Task[None] | None = None
        self.samples: list[Ownership] = []

    def start(self) -> None:
        """Begin to sample."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def owned_by(self, worker: str) -> frozenset[Partition]:
        """Return what a worker owned when it was last looked at."""
        return frozenset(self.samples[-1].owned.get(worker, ())) if self.samples else frozenset()

    async def look(self) -> Ownership:
        """Take a sample now. Raises StoreError."""
        members = await self._store.members.live(self._group, ttl=self._ttl)
        names = {worker.pid: worker.name for worker in self._fleet.workers}
        running: list[Member] = [member for member in members if member.status is WorkerStatus.RUNNING]
        sample = Ownership(time.monotonic(), {names.get(one.pid, one.worker_id): one.owns for one in running})
        self.samples.append(sample)
        return sample

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
            except StoreError:
                continue
            finally:
                await asyncio.sleep(INTERVAL)
