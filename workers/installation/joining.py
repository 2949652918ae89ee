"""The installation as the store keeps it: made by the first that starts, checked by all others."""

import asyncio
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final

from agentbus.contracts.clock import Clock
from agentbus.contracts.errors import MigrationUnfinished, StoreDamaged, StoreError
from agentbus.contracts.ids import LATEST_LINEAGE
from agentbus.contracts.installation import Installation
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.topology import Topology
from agentbus.storage.damage import read_as, tell
from agentbus.storage.port import Store
from agentbus.workers.bus.port import Bus
from agentbus.workers.concurrency import passing_over

KEY: Final = "installation"
LINEAGE: Final = "lineage"
LOOKED_AT: Final = timedelta(seconds=10)
"""After which a worker that is at work looks again whether the store was restored."""
"""The key of the record that says which restore of the store all that happens comes after."""
MIGRATION: Final = "migration"
"""The key of the record that says how far a migration to the store is."""

INTERVAL = 1.0
"""Seconds between two looks: how long a change of the partitions' number waits for a worker at least."""


async def read_installation(store: Store) -> Installation | None:
    """Return which installation the store belongs to; None if nobody has started on it since there is such a record.

    Raises StoreDamaged, StoreError.
    """
    record = await store.records.get(RecordKind.INSTALLATION, KEY)
    return read_as("the installation's record", Installation.model_validate, record.data) if record else None


async def keep_installation(store: Store, installation: Installation, clock: Clock, *, replace: bool = True) -> bool:
    """Keep which installation this is; return whether it was kept. Without `replace` it never is if there is one."""
    data = installation.model_dump(mode="json")
    record = Record(kind=RecordKind.INSTALLATION, key=KEY, created_at=clock.now(), data=data)
    return await store.records.put(record, replace=replace)


async def read_lineage(store: Store) -> int | None:
    """Return which restore all that happens comes after; None in a store that none was made to. Raises StoreError."""
    record = await store.records.get(RecordKind.INSTALLATION, LINEAGE)
    return read_as("the record of the latest restore", _lineage_in, record) if record else None


async def keep_lineage(store: Store, lineage: int, clock: Clock) -> None:
    """Keep which restore all that happens comes after. Raises StoreError."""
    record = Record(kind=RecordKind.INSTALLATION, key=LINEAGE, created_at=clock.now(), data={"lineage": lineage})
    await store.records.put(record)


def _lineage_in(record: Record) -> int:
    lineage = record.data["lineage"]
    if not isinstance(lineage, int) or not 1 <= lineage <= LATEST_LINEAGE:
        raise ValueError("it is no number that a restore has")
    return lineage


class LineageBook:
    """The lineage by which a worker decides: read when it takes partitions over, and when a restore reaches it.

    And every few seconds: a restore that has nothing for this worker's partitions does not reach it, and what begins
    anew there is to be told from what the lost store knew as well.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._read_at: datetime | None = None
        self._lineage: int | None = None
        self._known: set[str] | None = None
        """Restores that it is read after; None: it was not read yet."""

    async def look(self, *, anew: bool = False, restores: Collection[str] = ()) -> int | None:
        """Return the lineage; read again `anew`, when one of `restores` is new, and in time. Raises StoreError."""
        now = self._clock.now()
        in_time = self._read_at is None or abs(now - self._read_at) >= LOOKED_AT
        if anew or in_time or self._known is None or not self._known.issuperset(restores):
            try:
                self._lineage = await read_lineage(self._store)
            except StoreDamaged as damage:
                tell(damage)  # Numbers may be given out again then: better than that nothing is done at all.
            self._known, self._read_at = set(restores), now
        return self._lineage


async def check_installation(store: Store, topology: Topology) -> None:
    """Raise InstallationMismatch if the store belongs to an installation with other partitions or another scope."""
    if installation := await read_installation(store):
        installation.check(topology)


async def unfinished_migration(store: Store) -> str | None:
    """Return which store this one is half a copy of; None if it is no such copy. Raises StoreError."""
    record = await store.records.get(RecordKind.MIGRATION, MIGRATION)
    return str(record.data.get("source")) if record else None


async def check_whole(store: Store) -> None:
    """Raise MigrationUnfinished if the store is half a copy of another one."""
    if source := await unfinished_migration(store):
        raise MigrationUnfinished(
            f"the store is half a copy of {source}: run `agentbus store migrate` again, which goes on with it, or take "
            "another store"
        )


async def join_installation(store: Store, bus: Bus, clock: Clock) -> None:
    """Check store and broker, declare the topology, and be the one who decides if nobody has before.

    Raises MigrationUnfinished, InstallationMismatch, TopologyMismatch, StoreError, BusError.
    """
    await check_whole(store)
    await bus.check()  # first: whoever the broker refuses decides nothing
    await keep_installation(store, Installation.of(bus.topology), clock, replace=False)
    await check_installation(store, bus.topology)
    await bus.declare()


async def until_it_changes(store: Store, topology: Topology, *, interval: float = INTERVAL) -> None:
    """Raise InstallationMismatch once the store's installation is another; an outage of the store is waited out."""
    while True:
        await asyncio.sleep(interval)
        with passing_over(StoreError):
            await check_installation(store, topology)
