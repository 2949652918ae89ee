"""Reading whole lists out of a store, page by page: what is kept of an item that was read is some bytes."""

from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Final, TypeVar

from agentbus.contracts.events import Commit
from agentbus.contracts.history import Page, SessionFilter
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.parked import ParkedInput, ParkedStatus
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.storage.paging import listed_at
from agentbus.storage.port import MAX_PAGE, Store

Item = TypeVar("Item")

PAGE: Final = 200

_COMMITS: Final = 50
"""Commits on a page: each may hold as many inputs as a worker takes at once, and two pages are held in memory."""

_LOOKS: Final = 10
"""How often a list is read from its front at most: somewhere there is always somebody writing."""
_SKEW: Final = timedelta(seconds=10)
"""How far the clocks may differ by which things are sorted."""
_SHORT: Final = 52
"""Bits of a digest that do not choose its array: there are 4096 of these."""
_LIVE: Final = tuple(status for status in SessionStatus if status.is_live)


async def iter_log(store: Store, conversation: ConversationId) -> AsyncIterator[Commit]:
    """Yield a conversation's commits, oldest first."""
    first = 1
    while commits := await store.log.read(conversation, first=first, limit=_COMMITS):
        for commit in commits:
            yield commit
        if len(commits) < _COMMITS:
            return
        first = commits[-1].version + 1


async def iter_sessions(store: Store, where: SessionFilter) -> AsyncIterator[SessionState]:
    """Yield the heads of the sessions that `where` selects, latest activity first, each once.

    Those that become active meanwhile come last.
    """
    read = partial(store.heads.page, where, limit=PAGE)
    async for session in _all_pages(read, lambda one: (listed_at(one), one.session_id)):
        yield session


async def iter_live(store: Store, where: SessionFilter) -> AsyncIterator[SessionState]:
    """Yield the heads of the live sessions that `where` selects, each once, those that wake up meanwhile too."""
    seen = _Seen()
    # Active ones twice: one that was idle, or set aside, may have become active while the others were read.
    for status in (*_LIVE, SessionStatus.ACTIVE):
        async for session in iter_sessions(store, where.model_copy(update={"status": status})):
            if seen.is_new(session.session_id):
                yield session


async def iter_due(store: Store, before: datetime) -> AsyncIterator[SessionState]:
    """Yield the heads that are due at `before`, the earliest first, each once, whatever is done about them."""
    seen = _Seen()
    while True:
        due = await store.heads.due(before, limit=MAX_PAGE)
        fresh = [one for one in due if seen.is_new(one.session_id)]
        for session in fresh:
            yield session
        if not fresh:
            break
    if len(due) < MAX_PAGE:
        return
    # As many as can be asked for stay due, and hide the rest.
    async for session in iter_live(store, SessionFilter()):
        if session.due_at and session.due_at <= before and seen.is_new(session.session_id):
            yield session


async def iter_parked(
    store: Store, status: ParkedStatus | None = None, *, conversation: ConversationId | None = None
) -> AsyncIterator[ParkedInput]:
    """Yield parked inputs as a page has them, bodies cut, the latest first; those parked meanwhile come last."""
    read = partial(store.parked.page, status, conversation=conversation, limit=PAGE)
    async for parked in _all_pages(read, lambda one: (one.parked_at, one.parked_id)):
        yield parked


async def iter_records(store: Store, kind: RecordKind, group: str) -> AsyncIterator[Record]:
    """Yield the records of a group, the latest first; those put there meanwhile come last."""
    read = partial(store.records.page, kind, group, limit=PAGE)
    async for record in _all_pages(read, lambda one: (one.created_at, one.key)):
        yield record


async def _all_pages(
    read: Callable[..., Awaitable[Page[Item]]], place: Callable[[Item], tuple[datetime, str]]
) -> AsyncIterator[Item]:
    """Yield all items of a list that begins with the latest, each once; `place` says by what it is sorted.

    What moves to the front while it is read is behind whoever reads on, so the front is read again, as far as things
    may have moved there, until that finds nothing new.
    """
    seen = _Seen()
    since: datetime | None = None
    for _ in range(_LOOKS):
        cursor, first, found = None, None, False
        while True:
            page = await read(cursor=cursor)
            for item in page.items:
                at, name = place(item)
                first = first or at
                if seen.is_new(name):
                    found = True
                    yield item
            if page.items and since and place(page.items[-1])[0] < since:
                break
            cursor, at_once = page.cursor, cursor is None and page.cursor is None
            if not cursor:
                break
        if not found or at_once or first is None:
            return  # Of what is read at once nothing is overlooked.
        since = first - _SKEW


class _Seen:
    """Tells whether a name came before, and keeps 8 bytes of each: what was read can move to the front and come again.

    Of a million names one is taken for another once in thirty million reads.
    """

    def __init__(self) -> None:
        # By their first bits, so that each array stays short: in it digests stand in their order.
        self._digests: defaultdict[int, array[int]] = defaultdict(partial(array, "q"))

    def is_new(self, name: str) -> bool:
        """Whether `name` comes the first time."""
        digest = hash(name)
        others = self._digests[digest >> _SHORT]
        place = bisect_left(others, digest)
        if place < len(others) and others[place] == digest:
            return False
        others.insert(place, digest)
        return True
