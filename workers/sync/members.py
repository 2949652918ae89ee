"""Which sessions are an identity's, read from their heads: the log alone says who is linked."""

from typing import Final

from agentbus.contracts.history import SessionFilter
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.storage.port import Store
from agentbus.storage.reading import iter_sessions
from agentbus.workers.domain.evolve import replay

_LATEST: Final = 50
_LIVE: Final = (SessionStatus.ACTIVE, SessionStatus.IDLE, SessionStatus.SUSPENDED)


async def live_members(store: Store, identity: str) -> list[SessionState]:
    """Return the identity's live sessions, one for each of its conversations that has one.

    One look is enough unless many of its sessions have ended by now: those are not read then.
    """
    latest, whole = await _look(store, identity)
    if whole:
        return latest
    # Not one query but several: a session that becomes active between them is among the latest ones at the end.
    found: list[SessionState] = []
    for status in _LIVE:
        found += [one async for one in iter_sessions(store, SessionFilter(identity=identity, status=status))]
    found += (await _look(store, identity))[0]
    newest = {one.conversation_id: one for one in sorted(found, key=lambda one: one.version)}
    return list(newest.values())


async def latest_session(store: Store, conversation: ConversationId) -> SessionState:
    """Return the state of a conversation's latest session; of generation 0 if it never had one."""
    kept = (await store.log.load([conversation]))[conversation]
    return replay(kept.head or SessionState.empty(conversation), kept.commits)


async def _look(store: Store, identity: str) -> tuple[list[SessionState], bool]:
    """Return the live ones among the latest of an identity's sessions, and whether those are all there are."""
    page = await store.heads.page(SessionFilter(identity=identity), limit=_LATEST)
    return [session for session in page.items if session.is_live], page.cursor is None


async def is_linked(store: Store, conversation: ConversationId, identity: str) -> bool:
    """Whether a conversation is linked to an identity now, by its latest session."""
    return (await latest_session(store, conversation)).identity == identity
