"""What a store has of a conversation of a backup: nothing, the same, less, more, or something else."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from agentbus.contracts.events import Commit
from agentbus.contracts.ids import SessionId
from agentbus.contracts.session import SessionState
from agentbus.storage.chunks import chunks
from agentbus.storage.port import Store
from agentbus.workers.domain.evolve import replay
from agentbus.workers.recovery.receipts import Filtered

_HEADS: Final = 100


class Relation(Enum):
    """How a store's log of a conversation stands to that of the backup."""

    NEW = "new"
    """There is none."""
    SAME = "same"
    """They are the same."""
    BEHIND = "behind"
    """The store has the first commits of the backup's."""
    AHEAD = "ahead"
    """The backup has the first commits of the store's."""
    OTHER = "other"
    """Other things happened: the conversation began anew, or went on from an older state."""


@dataclass(frozen=True, slots=True)
class Compared:
    """A conversation of a backup, beside what the store has of it."""

    relation: Relation
    state: SessionState
    """Its latest session in the store; of generation 0 if there is none."""
    sessions: Mapping[SessionId, SessionState]
    """Those of the backup that the store has, as they are there."""
    after: str | None
    """The last input of the commits that both have."""


async def compare(store: Store, kept: Filtered) -> Compared:
    """Look what a store has of a conversation. Raises StoreDamaged, StoreUnavailable."""
    loaded = (await store.log.load([kept.conversation_id]))[kept.conversation_id]
    state = replay(loaded.head or SessionState.empty(kept.conversation_id), loaded.commits)
    sessions: dict[SessionId, SessionState] = {}
    for some in chunks([head.session_id for head in kept.heads if head.generation], _HEADS):
        sessions |= await store.heads.get_many(some)
    if state.generation and state.session_id in {head.session_id for head in kept.heads}:
        sessions[state.session_id] = state
    if state.version == 0:
        return Compared(Relation.NEW, state, sessions, None)
    common = min(state.version, kept.held.version)
    theirs: Commit | None = None
    after: str | None = None
    async for commit in kept.held.commits():
        if commit.version <= common:
            after = commit.inputs[-1] if commit.inputs else after
            theirs = commit
    ours = await store.log.read(kept.conversation_id, first=common, last=common, limit=1) if common else []
    return Compared(_relation(state, kept, ours[0] if ours else None, theirs), state, sessions, after)


def _relation(state: SessionState, kept: Filtered, ours: Commit | None, theirs: Commit | None) -> Relation:
    if ours is None or theirs is None or not _is_same(ours, theirs, erased=state.erased):
        return Relation.OTHER
    if state.version == kept.held.version:
        return Relation.SAME
    if state.version > kept.held.version:
        return Relation.AHEAD
    return Relation.OTHER if kept.held.has_gaps else Relation.BEHIND


def _is_same(one: Commit, other: Commit, *, erased: bool) -> bool:
    """Whether two commits of one version are the same: by their inputs, which no two commits share, and their moment.

    Their events may have left one of the logs. If so the commits before them are the same, too.
    """
    same_inputs = one.inputs == other.inputs or (erased and len(one.inputs) == len(other.inputs))
    return one.version == other.version and one.at == other.at and same_inputs
