"""The sync history: who linked, unlinked and changed what, from where; read from the sessions' logs."""

import json
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final

from pydantic import Field, TypeAdapter, ValidationError

from agentbus.contracts.base import DEFERRED, MAX_INTEGER, Announced, Id, Timestamp
from agentbus.contracts.events import (
    AnyEvent,
    ConflictOpened,
    ConflictResolved,
    ContextMerged,
    IdentityLinked,
    IdentityUnlinked,
    MessageAppended,
)
from agentbus.contracts.history import Page
from agentbus.contracts.ids import ConversationId, ConversationIdField, SessionId, SessionIdField
from agentbus.storage.paging import check_limit, decode_cursor, encode_cursor
from agentbus.storage.port import Store

_COMMITS: Final = 200
"""Commits that are read at once."""

_BUDGET: Final = 10_000
"""Commits that are read for one page; a page that ends there has a cursor all the same."""

_ALL: Final = (IdentityLinked, IdentityUnlinked, ContextMerged, ConflictOpened, ConflictResolved)

_Mark = Annotated[int, Field(ge=0, le=MAX_INTEGER)]
_MARKS: Final = TypeAdapter[dict[ConversationId, tuple[int, int]]](
    dict[ConversationIdField, tuple[_Mark, _Mark]], config=DEFERRED
)


class SyncNote(Announced):
    """Something that syncing did to a session."""

    at: Timestamp
    action: str
    """The event's kind, such as `context_merged`."""
    session_id: SessionIdField
    sequence: int
    """The event's number in the session."""
    identity: Id | None
    """Whose sessions were linked then."""
    actor: Id | None
    """The user who did it; None: the system itself, or an operator."""
    by: str | None = None
    """The operator who had it done: `key:ID` for a key of the HTTP API, `user:ID` for a token."""
    source: SessionIdField | None
    """The linked session that it came from."""
    fields: tuple[str, ...]
    """What was changed, as JSON pointers."""


async def sync_history(
    store: Store, conversations: Collection[ConversationId], *, limit: int = 50, cursor: str | None = None
) -> Page[SyncNote]:
    """Return what syncing did to the sessions of `conversations`, the latest first.

    A page may hold fewer than `limit`, even none, and have a cursor: long logs are read in parts. Raises ValueError
    for a limit outside 1..MAX_PAGE or a cursor that was not given out here.
    """
    check_limit(limit)
    marks = _marks(cursor)
    trails = [_Trail(store, one, *marks.get(one, (MAX_INTEGER, 0))) for one in conversations]
    notes: list[SyncNote] = []
    budget = _BUDGET
    while len(notes) < limit:
        for trail in trails:
            while budget > 0 and not trail.found and not trail.over:
                budget -= await trail.read()
        if any(not trail.found and not trail.over for trail in trails):
            break
        latest = max((trail for trail in trails if trail.found), key=lambda trail: trail.found[0].order, default=None)
        if latest is None:
            return Page(items=tuple(notes))
        notes.append(latest.found.popleft().note)
    marks = {trail.conversation: trail.mark for trail in trails}
    return Page(items=tuple(notes), cursor=encode_cursor("audit", json.dumps(marks, separators=(",", ":"))))


@dataclass(frozen=True, slots=True)
class _Found:
    """A note, and where in its conversation's log it stands."""

    version: int
    place: int
    note: SyncNote

    @property
    def order(self) -> tuple[datetime, str, int]:
        return self.note.at, self.note.session_id, self.note.sequence


class _Trail:
    """The notes of one conversation, the latest first, up to `version`: there, of the events before `place` alone."""

    def __init__(self, store: Store, conversation: ConversationId, version: int, place: int) -> None:
        self.conversation = conversation
        self.found: deque[_Found] = deque()
        self._store = store
        self._version = version
        self._place = place

    @property
    def over(self) -> bool:
        """Whether all commits were read."""
        return self._version == 0

    @property
    def mark(self) -> tuple[int, int]:
        """Where to go on: with the first note that was found, else with the first commit that was not read."""
        return (self.found[0].version, self.found[0].place + 1) if self.found else (self._version, self._place)

    async def read(self) -> int:
        """Read on; return how many commits that took."""
        commits = await self._store.log.read(self.conversation, last=self._version, limit=_COMMITS, newest=True)
        for commit in commits:
            whole = self._place == 0 or commit.version < self._version
            events = commit.events if whole else commit.events[: self._place]
            self.found += [
                _Found(commit.version, place, _note(event))
                for place, event in reversed(list(enumerate(events)))
                if _is_of_sync(event)
            ]
        self._version, self._place = (commits[-1].version - 1 if commits else 0), 0
        return max(1, len(commits))


def _is_of_sync(event: AnyEvent) -> bool:
    return isinstance(event, _ALL) or (isinstance(event, MessageAppended) and event.source is not None)


def _note(event: AnyEvent) -> SyncNote:
    source: SessionId | None = None
    fields: tuple[str, ...] = ()
    match event:
        case ContextMerged():
            source, fields = event.source, tuple(entry.field for entry in event.applied)
        case ConflictOpened():
            source = event.conflicts[0].source if event.conflicts else None
            fields = tuple(conflict.field for conflict in event.conflicts)
        case ConflictResolved():
            fields = tuple(entry.field for entry in event.entries)
        case MessageAppended():
            source = event.source
    return SyncNote(
        at=event.at,
        action=event.kind,
        session_id=event.session_id,
        sequence=event.sequence,
        identity=_identity(event),
        actor=event.actor,
        by=str(event.by) if event.by else None,
        source=source,
        fields=fields,
    )


def _identity(event: AnyEvent) -> str | None:
    match event:
        case IdentityLinked():
            return event.linked
        case IdentityUnlinked():
            return event.unlinked
        case _:
            return event.identity


def _marks(cursor: str | None) -> dict[ConversationId, tuple[int, int]]:
    if cursor is None:
        return {}
    try:
        return _MARKS.validate_json(decode_cursor("audit", cursor, str)[0])
    except ValidationError:
        raise ValueError("not a cursor of a sync history") from None
