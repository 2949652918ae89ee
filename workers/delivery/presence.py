"""A worker among those of its kind: known to them, and to whoever asks who is there."""

import os
import socket
from collections.abc import Awaitable, Callable, Collection
from uuid import uuid4

from agentbus.contracts.clock import Clock
from agentbus.contracts.ids import Partition
from agentbus.contracts.members import Member, WorkerId
from agentbus.storage.port import Store
from agentbus.workers.delivery.membership import Membership


async def _nobody_asks(_: list[Member]) -> None:
    """Pass over who else is there."""


class Presence:
    """Heartbeats in a group. `owns` says what for; `on_members` is told who lives after each of them."""

    def __init__(
        self,
        store: Store,
        group: str,
        *,
        clock: Clock,
        interval: float = 1.0,
        ttl: float = 4.0,
        owns: Callable[[], Collection[Partition]] = tuple,
        on_members: Callable[[list[Member]], Awaitable[None]] = _nobody_asks,
    ) -> None:
        self.worker_id = WorkerId(f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}")
        self._owns = owns
        self._started_at = clock.now()
        self._membership = Membership(
            store,
            group,
            describe=self.describe,
            on_members=on_members,
            on_silence=self._on_silence,
            interval=interval,
            ttl=ttl,
        )

    @property
    def joined(self) -> bool:
        """Whether the others know of this worker."""
        return self._membership.beating

    async def start(self) -> None:
        """Join the others."""
        await self._membership.start()

    async def close(self) -> None:
        """Leave the others. Idempotent."""
        await self._membership.stop()
        await self._membership.leave()

    def describe(self) -> Member:
        """Return what the worker tells the others about itself."""
        return Member(
            worker_id=self.worker_id,
            host=socket.gethostname(),
            pid=os.getpid(),
            started_at=self._started_at,
            owns=tuple(sorted(self._owns())),
        )

    async def _on_silence(self) -> None:
        """Go on: without the store nothing is done anyway, and doing it twice is harmless."""
