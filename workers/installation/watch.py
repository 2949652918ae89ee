"""Watches whether the installation is still the one that this process was started for."""

import asyncio

from contracts.errors import StoreError
from contracts.topology import Topology
from storage.port import Store
from workers.endings import passing_over
from workers.installation.record import check_installation

INTERVAL = 1.0
"""Seconds between two looks: how long a change of the partitions' number waits for a worker at least."""


async def until_it_changes(store: Store, topology: Topology, *, interval: float = INTERVAL) -> None:
    """Raise InstallationMismatch once the store's installation is another; an outage of the store is waited out."""
    while True:
        await asyncio.sleep(interval)
        with passing_over(StoreError):
            await check_installation(store, topology)
