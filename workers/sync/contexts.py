"""What a session has to pass on, read from its head and, where the head does not say it, from its log."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from agentbus.contracts.events import (
    AnyEvent,
    ConflictResolved,
    DataSet,
    MessageAppended,
    MetadataSet,
)
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.secrets import SECRET_KEYS
from agentbus.contracts.session import SessionState
from agentbus.contracts.stamps import Stamp, origin_of
from agentbus.contracts.sync import ConflictStrategy, Entry, SyncPolicy
from agentbus.storage.chunks import chunks
from agentbus.storage.history import as_read
from agentbus.storage.port import MAX_PAGE, Store
from agentbus.workers.domain.sync.merging import passed_on
from agentbus.workers.sync.exchange import shared

_COMMITS: Final = 200


async def shared_context(
    store: Store,
    session: SessionState,
    policy: SyncPolicy,
    *,
    own: bool = False,
    secret_keys: Collection[str] = SECRET_KEYS,
) -> tuple[Entry, ...]:
    """Return the fields of a session that the policy shares, removed ones too.

    With `own` those keys alone in which it wrote something itself: the others are the writers' to pass on.

    Where the policy asks what a writer saw, that is looked up among the latest commits of the session; what was
    written before them is taken for written without a look.
    """
    found = shared(policy, passed_on(session, policy.strategy, own=own), secret_keys)
    if not found or policy.strategy is not ConflictStrategy.MANUAL:
        return found
    seen = await _seen(store, session)
    return tuple(entry.model_copy(update={"base": seen.get(entry.field)}) for entry in found)


async def messages_after(store: Store, session: SessionState, version: int, identity: str) -> list[MessageAppended]:
    """Return the messages of a session that it can pass on: those of the commits after `version`, while linked.

    They read as they do now, as those of `to_copy`.
    """
    found: list[MessageAppended] = []
    first = max(session.first_version, version + 1)
    while first <= session.version and (
        commits := await store.log.read(session.conversation_id, first=first, last=session.version, limit=_COMMITS)
    ):
        found += [
            event
            for commit in commits
            for event in commit.events
            if isinstance(event, MessageAppended)
            and event.session_id == session.session_id
            and event.identity == identity
            and event.source is None
            and not event.restored  # it was passed on when it was said
        ]
        first = commits[-1].version + 1
    return [one for some in chunks(found, _COMMITS) for one in await to_copy(store, session.conversation_id, some)]


async def to_copy(store: Store, conversation: ConversationId, said: Sequence[MessageAppended]) -> list[MessageAppended]:
    """Return messages as they read now, without those that were deleted, which are not to be read anywhere.

    Who was linked by then is told what became of a message; who is linked later, and given it then, is not.
    """
    read = await as_read(store, conversation, said)
    return [
        event.model_copy(update={"message": now.message})
        for event, now in zip(said, read, strict=True)
        if now.deleted_at is None
    ]


async def _seen(store: Store, session: SessionState) -> dict[str, Stamp]:
    """Return, by field, the latest write of another session that this one replaced."""
    commits = await store.log.read(
        session.conversation_id, first=session.first_version, last=session.version, limit=MAX_PAGE, newest=True
    )
    seen: dict[str, Stamp] = {}
    for commit in commits:
        for event in reversed(commit.events):
            for field, stamp in _bases(event).items() if event.session_id == session.session_id else ():
                if _is_foreign(stamp, session.conversation_id):
                    seen.setdefault(field, stamp)
    return seen


def _bases(event: AnyEvent) -> Mapping[str, Stamp]:
    """Return what an event's writer saw where it wrote; of a choice, what it was offered."""
    match event:
        case DataSet() | MetadataSet():
            return event.bases
        case ConflictResolved():
            return {entry.field: entry.base for entry in event.entries if entry.base}
        case _:
            return {}


def _is_foreign(stamp: Stamp, conversation: ConversationId) -> bool:
    return origin_of(stamp) != conversation
