"""A session as it was: its state, its messages and its events up to a version of its conversation."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agentbus.contracts.errors import SessionNotFound
from agentbus.contracts.events import AnyEvent, Commit, MessageAppended
from agentbus.contracts.history import HistoryMessage
from agentbus.contracts.ids import SessionId, conversation_of
from agentbus.contracts.session import SessionState
from agentbus.storage.history import amended
from agentbus.storage.port import Store
from agentbus.workers.domain.evolve import heads_along

_COMMITS: Final = 200


@dataclass(frozen=True, slots=True)
class Told:
    """An event, and the commit that it is in."""

    version: int
    event: AnyEvent


async def session_at(store: Store, session: SessionId, version: int) -> SessionState:
    """Return a session as the conversation's commit `version` left it, or as its last did if there are fewer.

    It is made anew from the log's beginning: a long one takes its time, a few seconds for 100,000 commits. Raises
    SessionNotFound for one that had not begun by then, StoreDamaged, StoreError.
    """
    conversation = conversation_of(session)
    state, found = SessionState.empty(conversation), None
    while state.version < version:
        commits = await store.log.read(
            conversation, first=state.version + 1, last=version, limit=min(_COMMITS, version - state.version)
        )
        for head in heads_along(state, commits):
            state = head
            found = head if head.session_id == session else found
        if not commits:
            break
        await asyncio.sleep(0)  # evolving a long log is work, and others wait; a store in memory never does
    if found is None:
        raise SessionNotFound(f"session {session} had not begun at version {version}")
    return found


async def events_before(store: Store, session: SessionState, version: int, *, limit: int = 50) -> Sequence[Told]:
    """Return at least the last `limit` events of a session up to a commit, or all there are, the latest first.

    Whole commits: the next page begins before the last one's version. Raises StoreDamaged, StoreError.
    """
    found: list[Told] = []
    while len(found) < limit and version >= session.first_version:
        commits = await store.log.read(
            session.conversation_id, first=session.first_version, last=version, limit=limit, newest=True
        )
        if not commits:
            break
        for commit in commits:
            found += _events(session.session_id, commit)
            version = commit.version - 1
            if len(found) >= limit:
                break
    return found


async def messages_at(store: Store, session: SessionState, *, limit: int = 50) -> Sequence[HistoryMessage]:
    """Return the last messages of a session, oldest first, as they read when it was as this state says.

    Raises StoreDamaged, StoreError.
    """
    found: list[MessageAppended] = []
    version = session.version
    while len(found) < limit and version >= session.first_version:
        commits = await store.log.read(
            session.conversation_id, first=session.first_version, last=version, limit=_COMMITS, newest=True
        )
        if not commits:
            break
        told = [one.event for commit in commits for one in _events(session.session_id, commit)]
        found += [one for one in told if isinstance(one, MessageAppended) and one.sequence >= session.shown_from]
        version = commits[-1].version - 1
    shown = found[:limit]
    later = await store.log.commits_amending(session.conversation_id, {one.message.key for one in shown})
    changes = [event for commit in later if commit.version <= session.version for event in commit.events]
    about = [(one, [event for event in changes if getattr(event, "target", None) == one.message.key]) for one in shown]
    return [amended(one, changed) for one, changed in reversed(about)]


def _events(session: SessionId, commit: Commit) -> list[Told]:
    return [Told(commit.version, event) for event in reversed(commit.events) if event.session_id == session]
