"""What is kept, and by whose clock."""

from collections import defaultdict
from platform import python_version

from contracts.clock import Clock, SystemClock
from contracts.events import Commit
from contracts.ids import ConversationId, InputId, Partition, SessionId
from contracts.members import Member, WorkerId
from contracts.parked import ParkedId, ParkedInput
from contracts.records import Lock, Record, RecordKind
from contracts.session import SessionState
from storage.port import Store, StoreInfo


class MemoryBase(Store):
    """The dictionaries of a memory store. `clock` is the store's clock."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._log: dict[ConversationId, dict[int, Commit]] = defaultdict(dict)
        self._inputs: dict[ConversationId, dict[InputId, Commit]] = defaultdict(dict)
        self._heads: dict[SessionId, SessionState] = {}
        self._latest: dict[ConversationId, SessionState] = {}
        self._parked: dict[ParkedId, ParkedInput] = {}
        self._members: dict[str, dict[WorkerId, Member]] = defaultdict(dict)
        self._epochs: dict[tuple[str, Partition], int] = defaultdict(int)
        self._trials: dict[str, set[str]] = defaultdict(set)
        self._records: dict[tuple[RecordKind, str], Record] = {}
        self._locks: dict[str, Lock] = {}
        self._tokens: dict[str, int] = defaultdict(int)

    async def start(self) -> None:
        """Do nothing: memory is there."""

    async def close(self) -> None:
        """Do nothing: there is no connection."""

    async def info(self) -> StoreInfo:
        return StoreInfo(kind="memory", version=python_version(), server_time=self._clock.now())
