"""The policies of identities, kept as records."""

from time import monotonic
from typing import Final

from agentbus.contracts.clock import Clock
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.sync import SyncPolicy
from agentbus.storage.damage import SET_ANEW, read_as
from agentbus.storage.port import Store

DEFAULT: Final = "default"
"""The key of the policy of all identities that have none of their own."""

_FRESH: Final = 1.0
"""Seconds for which a policy that was read is gone by."""
_MOST: Final = 10_000
"""Policies held in memory."""


class Policies:
    """Reads and keeps sync policies. A change is in force everywhere a second later at most."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._read: dict[str, tuple[float, SyncPolicy | None]] = {}

    async def of(self, identity: str) -> SyncPolicy:
        """Return the policy that an identity's sessions are synced by: its own, the default one, or the built-in."""
        return await self._recent(identity) or await self._recent(DEFAULT) or SyncPolicy()

    async def kept(self, key: str) -> SyncPolicy | None:
        """Return what is kept for an identity, or under `DEFAULT`, now.

        Raises StoreDamaged for one that this release can't read: to go by half of it might share what it keeps back.
        """
        record = await self._store.records.get(RecordKind.SYNC_POLICY, key)
        return read_as(f"the sync policy {key!r}", SyncPolicy.model_validate, record.data, SET_ANEW) if record else None

    async def keep(self, key: str, policy: SyncPolicy) -> None:
        """Set the policy of an identity, or the one under `DEFAULT`."""
        data = policy.model_dump(mode="json")
        data["operations"] = sorted(data["operations"])
        record = Record(kind=RecordKind.SYNC_POLICY, key=key, created_at=self._clock.now(), data=data)
        await self._store.records.put(record)
        self._read.pop(key, None)

    async def forget(self, key: str) -> bool:
        """Take away the policy of an identity, or the one under `DEFAULT`; return whether there was one."""
        self._read.pop(key, None)
        return await self._store.records.delete(RecordKind.SYNC_POLICY, key)

    async def _recent(self, key: str) -> SyncPolicy | None:
        read_at, policy = self._read.get(key, (0.0, None))
        if not read_at or monotonic() - read_at > _FRESH:
            if len(self._read) >= _MOST:
                self._read.clear()
            policy = await self.kept(key)
            self._read[key] = (monotonic(), policy)
        return policy
