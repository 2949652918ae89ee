"""Stores and buses that fail when told to, and who gives up."""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from agentbus.contracts.errors import BusError, PublishUnconfirmed, StoreError, StoreUnavailable
from agentbus.contracts.events import Commit
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.session import SessionState
from agentbus.sessions import SessionSystem
from agentbus.storage.memory import MemoryStore
from agentbus.storage.memory.heads import MemoryHeads
from agentbus.storage.memory.log import MemoryLog
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.bus.port import Message


class FaultyStore(MemoryStore):
    """A store that fails its next calls: before they take effect, or after."""

    def __init__(self) -> None:
        super().__init__()
        self.fail_before: deque[Exception] = deque()
        self.fail_after: deque[Exception] = deque()
        self.fail_heads: deque[Exception] = deque()
        self.refuse: dict[str, StoreError] = {}
        self.refuse_heads: dict[ConversationId, StoreError] = {}
        self.batches: list[int] = []
        self.heads = _FaultyHeads(self)
        self.log = _FaultyLog(self)


class _FaultyLog(MemoryLog):
    def __init__(self, store: FaultyStore) -> None:
        super().__init__(store.heads)
        self._store = store

    async def append(self, commits: Sequence[Commit]) -> list[StoreError | None]:
        told = self._store
        told.batches.append(len(commits))
        if told.fail_before:
            raise told.fail_before.popleft()
        outcomes: list[StoreError | None] = []
        for commit in commits:
            refused = next((error for one, error in told.refuse.items() if one in commit.inputs), None)
            outcomes += [refused] if refused else await super().append([commit])
        if told.fail_after:
            raise told.fail_after.popleft()
        return outcomes


class _FaultyHeads(MemoryHeads):
    def __init__(self, store: FaultyStore) -> None:
        super().__init__()
        self._store = store

    async def save(self, heads: Sequence[SessionState]) -> list[StoreError | None]:
        told = self._store
        if told.fail_heads:
            raise told.fail_heads.popleft()
        kept = [head for head in heads if head.conversation_id not in told.refuse_heads]
        await super().save(kept)
        return [told.refuse_heads.get(head.conversation_id) for head in heads]


class FaultyBus(MemoryBus):
    """A bus whose next confirms of events get lost: of some messages before, of others after they were routed."""

    unconfirmed: int = 0
    routed_all_the_same: bool = False

    async def publish_many(
        self, exchange: str, messages: Sequence[tuple[str, Message]], *, mandatory: bool = True
    ) -> list[BusError | None]:
        if exchange != self.topology.events or not self.unconfirmed:
            return await super().publish_many(exchange, messages, mandatory=mandatory)
        kept = max(0, len(messages) - self.unconfirmed)
        self.unconfirmed = 0
        lost: list[BusError | None] = [PublishUnconfirmed()] * (len(messages) - kept)
        sent = messages if self.routed_all_the_same else messages[:kept]
        return (await super().publish_many(exchange, sent, mandatory=mandatory))[:kept] + lost


def outage(times: int) -> deque[Exception]:
    return deque(StoreUnavailable("the store is down for a moment") for _ in range(times))


@contextmanager
def given_up_after(seconds: float, system: SessionSystem) -> Iterator[None]:
    """Let calls that can't succeed be given up soon; those that are to succeed have the time that the system gives."""
    assert system._running is not None
    engine = system._running.sections.engine
    before, engine.call_timeout = engine.call_timeout, seconds
    try:
        yield
    finally:
        engine.call_timeout = before
