"""A session's events from the log, as they were announced: from a sequence on, or from where a reader was."""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Self

from agentbus.contracts.events import AnyEvent, Commit, MessageAppended, MessageDeleted, MessageEdited
from agentbus.contracts.ids import ConversationId, MessageKey, SessionId, conversation_of
from agentbus.contracts.session import SessionState
from agentbus.storage.port import Store
from agentbus.workers.domain.disclosure import announced, is_news, taken_back

COMMITS: Final = 20
"""Commits that are read at a time: a reader that is slow has no more of them held."""

_LOOKED_AT: Final = 50
"""Commits that are looked at together for the next one with events of the session."""
_PLACE: Final = re.compile(r"([0-9]{1,15})\.([0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class Place:
    """Behind a session's event of this number; what comes after it is in this commit or in later ones."""

    version: int
    number: int

    @classmethod
    def read(cls, text: str) -> Self | None:
        """Return the place that a reader hands back; None for what is none."""
        found = _PLACE.fullmatch(text)
        return cls(int(found[1]), int(found[2])) if found else None

    def __str__(self) -> str:
        return f"{self.version}.{self.number}"


@dataclass(frozen=True, slots=True)
class Found:
    """What came after a place, or a part of it."""

    events: tuple[tuple[Place, AnyEvent], ...]
    """Each with its own place."""
    place: Place
    """Where the reader is now."""
    more: bool
    """Whether there may be more at once."""


class SessionFeed:
    """Reads the events of one session. Each call raises StoreError.

    Values whose key is one of `secret_keys` are left out, as they are when an event is announced. What has left the log
    (archived, erased) is not there; messages that were taken back, or trimmed away, say nothing any more.
    """

    def __init__(self, store: Store, session: SessionId, secret_keys: Collection[str]) -> None:
        self._store = store
        self._session = session
        self._conversation: ConversationId = conversation_of(session)
        self._secret_keys = frozenset(secret_keys)

    @staticmethod
    def end_of(head: SessionState) -> Place:
        """Return the place behind all that a session's head knows of."""
        return Place(head.version + 1, 0)

    async def before(self, head: SessionState, number: int) -> Place:
        """Return the place behind which the session's event of `number` is, if it is there yet, and all later ones.

        Looked for by halves: a long log is not read from its beginning. Numbers grow with the log.
        """
        low, high = max(head.first_version, 1), head.version if number > 1 else 0
        while low < high:
            middle = (low + high) // 2
            last = await self._last_number(low, middle)
            if last is None or last < number:
                low = middle + 1
            else:
                high = middle
        return Place(low, number - 1)

    async def after(self, place: Place, *, shown_from: int | None = None, limit: int = COMMITS) -> Found:
        """Return what comes after a place, or the part of it that `limit` commits hold.

        `shown_from`: it is read late, so that messages that are gone by now, or came before that sequence, are shown
        empty; None: by somebody who follows.
        """
        commits = await self._store.log.read(self._conversation, first=max(place.version, 1), limit=limit)
        found = [(Place(commit.version, event.number), event) for commit, event in self._of(commits, place.number)]
        gone = await self._gone([event for _, event in found], shown_from)
        events = tuple((at, announced(taken_back(event, gone), self._secret_keys)) for at, event in found)
        number = found[-1][0].number if found else place.number
        there = Place(commits[-1].version + 1, number) if commits else place
        return Found(events, there, len(commits) == limit)

    def _of(self, commits: Iterable[Commit], after: int) -> Iterator[tuple[Commit, AnyEvent]]:
        for commit in commits:
            for event in commit.events:
                if event.session_id == self._session and event.number > after and is_news(event, commit):
                    yield commit, event

    async def _last_number(self, first: int, last: int) -> int | None:
        """Return the number of the session's last event in these commits; None if they have none."""
        limit = 1  # nearly every commit has some
        while first <= last:
            commits = await self._store.log.read(self._conversation, first=first, last=last, limit=limit, newest=True)
            for commit in commits:
                numbers = [event.number for event in commit.events if event.session_id == self._session]
                if numbers:
                    return max(numbers)
            if len(commits) < limit:
                return None
            last, limit = commits[-1].version - 1, _LOOKED_AT
        return None

    async def _gone(self, events: Iterable[AnyEvent], shown_from: int | None) -> set[MessageKey]:
        if shown_from is None:
            return set()
        said = list(events)
        trimmed = {one.message.key for one in said if isinstance(one, MessageAppended) and one.sequence < shown_from}
        return trimmed | await gone_of(self._store, self._conversation, said)


async def gone_of(store: Store, conversation: ConversationId, events: Iterable[AnyEvent]) -> set[MessageKey]:
    """Return which of the messages that a conversation's events brought or changed were taken back since."""
    keys = {
        event.message.key if isinstance(event, MessageAppended) else event.target
        for event in events
        if isinstance(event, MessageAppended | MessageEdited)
    }
    if not keys:
        return set()
    commits = await store.log.commits_amending(conversation, keys)
    return {event.target for one in commits for event in one.events if isinstance(event, MessageDeleted)} & keys
