"""The live actors' states, in memory and bounded: no read on the hot path."""

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

from agentbus.contracts.errors import StoreDamaged
from agentbus.contracts.events import Commit, SessionDeleted
from agentbus.contracts.ids import ConversationId, SessionId
from agentbus.contracts.records import RecordKind, checkpoint_groups
from agentbus.contracts.session import SessionState
from agentbus.storage.chunks import chunks
from agentbus.storage.port import Loaded, Store
from agentbus.workers.domain.earlier import concerns_earlier, earlier_sessions, followed
from agentbus.workers.domain.evolve import heads_along
from agentbus.workers.session.sizes import Sized

_TOGETHER: Final = 500
"""Heads of earlier sessions that are read and written together."""


MOST_BYTES: Final = 128 * 1024 * 1024
"""Bytes of states, as JSON, that are held: a session may hold megabytes, and few such ones would fill the memory."""

EMBEDDED_LIVE: Final = 1_000
EMBEDDED_BYTES: Final = 16 * 1024 * 1024
"""Conversations, and their bytes, that a worker holds at most inside somebody's program."""


class LiveStates:
    """Holds the states of the conversations used last; the longest unused one goes first when they are too many.

    Too many are more than `capacity`, or those that take more than `most_bytes` as JSON.
    """

    def __init__(self, store: Store, *, capacity: int, most_bytes: int = MOST_BYTES) -> None:
        self._store = store
        self._capacity = capacity
        self._most_bytes = most_bytes
        self._states: OrderedDict[ConversationId, Sized] = OrderedDict()
        self.bytes = 0
        """What they take as JSON, about."""

    def __len__(self) -> int:
        return len(self._states)

    def __contains__(self, conversation: ConversationId) -> bool:
        return conversation in self._states

    async def get(
        self, conversations: Collection[ConversationId]
    ) -> Mapping[ConversationId, SessionState | StoreDamaged]:
        """Return the states of `conversations`, or the damage of one that can't be read; what is missing is loaded.

        A head that a crash left behind its log, or that is damaged, is brought up to it in the store too: readers see
        heads alone. Raises StoreUnavailable, StoreRejected.
        """
        found: dict[ConversationId, SessionState | StoreDamaged] = {
            conversation: self._states[conversation].state for conversation in conversations & self._states.keys()
        }
        missing = [conversation for conversation in conversations if conversation not in found]
        if missing:
            loaded = await self._store.log.load(missing)
            behind: dict[SessionId, SessionState] = {}
            commits: list[Commit] = []
            for conversation in missing:
                try:
                    heads = _heads_of(conversation, loaded[conversation])
                except StoreDamaged as damage:
                    found[conversation] = damage
                    continue
                found[conversation] = heads[-1]
                behind |= {head.session_id: head for head in heads[1:]}
                commits += loaded[conversation].commits
            if behind:
                await self._store.heads.save(list(behind.values()))
                await follow(self._store, commits)
        return found

    def put(self, state: SessionState) -> None:
        """Keep a state after its commit."""
        if not self._capacity:
            return
        before = self._states.pop(state.conversation_id, None)
        now = self._states[state.conversation_id] = Sized(state, before)
        self.bytes += now.size - (before.size if before else 0)
        while len(self._states) > self._capacity or self.bytes > self._most_bytes:
            _, longest_unused = self._states.popitem(last=False)
            self.bytes -= longest_unused.size

    def drop(self, conversation: ConversationId) -> None:
        """Forget a state: it is loaded again when it is needed."""
        dropped = self._states.pop(conversation, None)
        self.bytes -= dropped.size if dropped else 0

    def drop_where(self, unwanted: Callable[[ConversationId], bool]) -> None:
        """Forget the states of some conversations."""
        for conversation in [conversation for conversation in self._states if unwanted(conversation)]:
            self.drop(conversation)


async def follow(store: Store, commits: Iterable[Commit]) -> None:
    """Bring what is kept beside the current heads up to `commits`. Idempotent.

    That is the heads of earlier sessions, of which later ones say what became of them, and the checkpoints and the
    components' states of sessions that were deleted, by whomever: they go.
    """
    for commit in filter(concerns_earlier, commits):
        for event in commit.events:
            if isinstance(event, SessionDeleted):
                for group in checkpoint_groups(event.deleted):
                    await store.records.delete_group(RecordKind.CHECKPOINT, group)
                await store.records.delete(RecordKind.COMPONENTS, event.deleted)
            for sessions in chunks(earlier_sessions(event), _TOGETHER):
                kept = await store.heads.get_many(sessions)
                marks = {"version": commit.version, "epoch": commit.epoch}
                heads = [followed(head, event).model_copy(update=marks) for head in kept.values()]
                await store.heads.save([head for head in heads if head.version >= kept[head.session_id].version])


def _heads_of(conversation: ConversationId, loaded: Loaded) -> list[SessionState]:
    """Return the head that was kept, and after it those that it should have become."""
    kept = loaded.head or SessionState.empty(conversation)
    return [kept, *heads_along(kept, loaded.commits)]
