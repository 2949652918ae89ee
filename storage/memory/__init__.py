"""The memory store: for tests and demonstrations; gone with the process."""

from platform import python_version

from agentbus.contracts.clock import Clock, SystemClock
from agentbus.storage.memory.heads import MemoryHeads
from agentbus.storage.memory.locks import MemoryLocks
from agentbus.storage.memory.log import MemoryLog
from agentbus.storage.memory.members import MemoryMembers
from agentbus.storage.memory.parked import MemoryParked
from agentbus.storage.memory.records import MemoryRecords
from agentbus.storage.port import Capabilities, Deleted, Store, StoreInfo

__all__ = ["MemoryStore"]


class MemoryStore(Store):
    """Keeps conversations in this process. What was kept stays until the object goes, also across `close`.

    `clock` is the store's clock.
    """

    log: MemoryLog
    heads: MemoryHeads
    parked: MemoryParked
    members: MemoryMembers
    records: MemoryRecords
    locks: MemoryLocks

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self.heads = MemoryHeads()
        self.log = MemoryLog(self.heads)
        self.parked = MemoryParked()
        self.members = MemoryMembers(self._clock)
        self.records = MemoryRecords()
        self.locks = MemoryLocks(self._clock)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(deleted=Deleted.GONE)

    async def start(self) -> None:
        """Do nothing: memory is there."""

    async def close(self) -> None:
        """Do nothing: there is no connection."""

    async def info(self) -> StoreInfo:
        return StoreInfo(kind="memory", version=python_version(), server_time=self._clock.now())
