"""Reading whole lists out of a store, page by page, so that memory stays flat."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, TypeVar

from contracts.events import Commit
from contracts.history import Page, SessionFilter
from contracts.ids import ConversationId
from contracts.parked import ParkedInput, ParkedStatus
from contracts.records import Record, RecordKind
from contracts.session import SessionState
from storage.port import Store

Item = TypeVar("Item")

PAGE: Final = 200


async def iter_log(store: Store, conversation: ConversationId) -> AsyncIterator[Commit]:
    """Yield a conversation's commits, oldest first."""
    first = 1
    while commits := await store.read_log(conversation, first=first, limit=PAGE):
        for commit in commits:
            yield commit
        first = commits[-1].version + 1


async def iter_sessions(store: Store, where: SessionFilter) -> AsyncIterator[SessionState]:
    """Yield the heads of the sessions that `where` selects, latest activity first."""
    async for session in _all_pages(lambda cursor: store.list_sessions(where, limit=PAGE, cursor=cursor)):
        yield session


async def iter_parked(
    store: Store, status: ParkedStatus | None = None, *, conversation: ConversationId | None = None
) -> AsyncIterator[ParkedInput]:
    """Yield parked inputs as `list_parked` does, bodies cut, the latest first."""
    async for parked in _all_pages(
        lambda cursor: store.list_parked(status, conversation=conversation, limit=PAGE, cursor=cursor)
    ):
        yield parked


async def iter_records(store: Store, kind: RecordKind, group: str) -> AsyncIterator[Record]:
    """Yield the records of a group, the latest first."""
    async for record in _all_pages(lambda cursor: store.list_records(kind, group, limit=PAGE, cursor=cursor)):
        yield record


async def _all_pages(read: Callable[[str | None], Awaitable[Page[Item]]]) -> AsyncIterator[Item]:
    cursor: str | None = None
    while True:
        page = await read(cursor)
        for item in page.items:
            yield item
        cursor = page.cursor
        if not cursor:
            return
