"""Stores and buses that fail when told to."""

from collections import deque
from collections.abc import Sequence

from contracts.errors import BusError, PublishUnconfirmed, StoreError, StoreUnavailable
from contracts.events import Commit
from contracts.ids import ConversationId
from contracts.session import SessionState
from storage.memory import MemoryStore
from workers.bus.memory import MemoryBus
from workers.bus.port import Message


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

    async def append(self, commits: Sequence[Commit]) -> list[StoreError | None]:
        self.batches.append(len(commits))
        if self.fail_before:
            raise self.fail_before.popleft()
        outcomes: list[StoreError | None] = []
        for commit in commits:
            refused = next((error for one, error in self.refuse.items() if one in commit.inputs), None)
            outcomes += [refused] if refused else await super().append([commit])
        if self.fail_after:
            raise self.fail_after.popleft()
        return outcomes

    async def save_heads(self, heads: Sequence[SessionState]) -> list[StoreError | None]:
        if self.fail_heads:
            raise self.fail_heads.popleft()
        kept = [head for head in heads if head.conversation_id not in self.refuse_heads]
        await super().save_heads(kept)
        return [self.refuse_heads.get(head.conversation_id) for head in heads]


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
