"""The memory store: for tests and demonstrations; gone with the process."""

from storage.memory.heads import MemoryHeads
from storage.memory.locks import MemoryLocks
from storage.memory.log import MemoryLog
from storage.memory.members import MemoryMembers
from storage.memory.parked import MemoryParked
from storage.memory.records import MemoryRecords

__all__ = ["MemoryStore"]


class MemoryStore(MemoryLog, MemoryHeads, MemoryParked, MemoryMembers, MemoryRecords, MemoryLocks):
    """Keeps conversations in this process. What was kept stays until the object goes, also across `close`."""
