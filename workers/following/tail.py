"""The journal as its readers of one process see it: pages with what they say, made once for all who follow.

Whoever follows has no queue, but a place. The pages that came last are held, so many bytes of them and no more; who is
slower than that reads from the log, until they have caught up. So it does not matter how many there are, nor how slow.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import inf
from time import monotonic
from typing import Final

from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.errors import AgentBusError, StoreDamaged
from agentbus.contracts.events import AnyEvent, Commit, ConversationErased, MessageAppended, SessionDeleted
from agentbus.contracts.ids import ConversationId, MessageKey, SessionId, generation_of
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.contracts.telemetry import Action
from agentbus.storage.log_lines import Logger
from agentbus.storage.port import MAX_PAGE, Store
from agentbus.workers.concurrency import ended, passing_over, raise_if_cancelled, side_by_side
from agentbus.workers.delivery.retry import keep_trying
from agentbus.workers.domain.disclosure import announced, is_news, taken_back
from agentbus.workers.faults import told
from agentbus.workers.following.journal import Behind, Journal, Named, Place
from agentbus.workers.following.session_feed import gone_of

HELD: Final = 8 * 1024 * 1024
"""Bytes of pages that are held for those who follow."""

_LOOK: Final = 1.0
_SOON: Final = 0.01
"""Seconds until it is looked whether there is a new page: at once if one was heard of, then after longer and longer."""
_CATCHING_UP: Final = 4
"""Pages that are read at the same time for those who are behind."""
_READ: Final = 8
_FRESH: Final = 5.0
"""Seconds for which a page that was read for one who is behind is as good for others."""

_log = Logger(__name__)


class PlaceGone(AgentBusError):
    """What is asked for is older than what is kept of the journal, or is of another one."""


@dataclass(frozen=True, slots=True)
class Line:
    """An event, as it is sent to all who want it."""

    behind: Behind
    """Its place on its page."""
    topic: str
    session: SessionId
    body: bytes
    """The envelope that was announced, as JSON."""


@dataclass(frozen=True, slots=True)
class Page:
    """What a page of the journal says."""

    number: int
    lines: tuple[Line, ...]
    size: int


class Tail:
    """The end of the journal, and what came before it."""

    def __init__(self, store: Store, journal: Journal, secret_keys: Collection[str], *, held: int = HELD) -> None:
        self._store = store
        self._journal = journal
        self._secret_keys = frozenset(secret_keys)
        self._most = held
        self._held: OrderedDict[int, Page] = OrderedDict()
        self._size = 0
        self._look = asyncio.Event()
        self._news = asyncio.Event()
        self._late = asyncio.Semaphore(_CATCHING_UP)
        self._being_made: dict[int, asyncio.Task[Page]] = {}
        self._made_late: OrderedDict[int, tuple[float, Page]] = OrderedDict()
        self._late_size = 0
        self._listeners = 0
        self._following: asyncio.Task[None] | None = None
        self.name = ""
        """Of the journal."""
        self.last = 0
        """The last page that is known of."""

    @property
    def running(self) -> bool:
        """Whether new pages are looked for."""
        return self._following is not None and not self._following.done()

    async def start(self) -> None:
        """Begin to follow. Raises StoreError."""
        self.name = (await self._journal.beginning()).name
        self.last = await self._journal.last()
        self._following = asyncio.create_task(self._follow(), name="follow the journal")

    async def close(self) -> None:
        """Stop. Idempotent."""
        await ended({*({self._following} if self._following else ()), *self._being_made.values()})
        self._let_go()

    def _let_go(self) -> None:
        self._held.clear()
        self._made_late.clear()
        self._size = self._late_size = 0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Have new pages held while this lasts."""
        self._listeners += 1
        try:
            yield
        finally:
            self._listeners -= 1
            if not self._listeners:
                self._let_go()

    def heard(self) -> None:
        """Say that there may be a new page soon."""
        self._look.set()

    @property
    def end(self) -> Place:
        """The place behind all that there is."""
        return Place(self.name, self.last)

    async def check(self, place: Place) -> None:
        """Raise PlaceGone unless all that comes after a place can be read. Raises StoreError."""
        if place.journal != self.name:
            raise PlaceGone("that place is in another journal: the store was restored since")
        if place.page > self.last and place.page > await self._journal.last():
            raise PlaceGone("that place is behind the end of the journal")
        first = place.page if place.event else place.page + 1
        if first <= self.last and await self._journal.page(first) is None:
            raise PlaceGone("what came after that place is kept no more")

    async def grows(self, beyond: int, *, within: float) -> bool:
        """Wait `within` seconds for a page after this one; return whether there is one."""
        with passing_over(TimeoutError):
            async with asyncio.timeout(within):
                while self.last <= beyond:
                    await self._news.wait()
        return self.last > beyond

    async def page(self, number: int, *, late: bool) -> Page:
        """Return a page. Raises PlaceGone, StoreError.

        `late`: for who was not there when it came, so that it is read from the log as that is now, or was some seconds
        ago: what was deleted, erased or archived since is not on it, and messages that were taken back say nothing.
        """
        if not late and (held := self._held.get(number)) is not None:
            return held
        made_at, page = self._made_late.get(number, (-inf, None))
        if page is not None and monotonic() - made_at < _FRESH:
            return page
        if (making := self._being_made.get(number)) is None:
            making = asyncio.create_task(self._make_late(number), name=f"read page {number} of the journal")
            self._being_made[number] = making
            making.add_done_callback(partial(self._is_made, number))
        return await asyncio.shield(making)

    async def _make_late(self, number: int) -> Page:
        async with self._late:
            return await self._made(number, late=True)

    def _is_made(self, number: int, making: "asyncio.Task[Page]") -> None:
        """Keep for a moment what was read for who is behind: thousands may come back at once, all at the same place."""
        del self._being_made[number]
        if making.cancelled() or making.exception() is not None or not self._listeners:
            return
        page = making.result()
        _, before = self._made_late.pop(number, (0.0, None))
        self._late_size += page.size - (before.size if before else 0)
        self._made_late[number] = monotonic(), page
        while self._late_size > self._most:
            _, (_, oldest) = self._made_late.popitem(last=False)
            self._late_size -= oldest.size

    async def _follow(self) -> None:
        pause = _LOOK
        while True:
            heard = await self._has_heard(pause)
            try:
                found = await self._advance()
            except Exception as error:  # whatever it is: nobody else would go on
                raise_if_cancelled()
                _log.error(Action.NOT_JOURNALED, **told(error))
                found = heard = False
            pause = _SOON if found or heard else min(2 * pause, _LOOK)
            if heard and not found:
                await asyncio.sleep(_SOON)  # it is being written

    async def _has_heard(self, within: float) -> bool:
        with passing_over(TimeoutError):
            async with asyncio.timeout(within):
                await self._look.wait()
        heard = self._look.is_set()
        self._look.clear()
        return heard

    async def _advance(self) -> bool:
        """Take up the pages that have come; return whether there were any."""
        before = self.last
        while await keep_trying("follow the journal", self._journal.page, self.last + 1) is not None:
            if self._listeners:
                self._hold(await keep_trying("read what happened", self._made, self.last + 1, late=False))
            self.last += 1
            news, self._news = self._news, asyncio.Event()
            news.set()
        return self.last > before

    def _hold(self, page: Page) -> None:
        self._held[page.number] = page
        self._size += page.size
        while self._size > self._most:
            _, oldest = self._held.popitem(last=False)
            self._size -= oldest.size

    async def _made(self, number: int, *, late: bool) -> Page:
        named = await self._journal.page(number)
        if named is None:
            raise PlaceGone("what came after that place is kept no more")
        commits = await self._commits(named)
        lines: list[Line] = []
        shown = await self._shown(commits.values()) if late else None
        for at, one in enumerate(named):
            if (commit := commits.get(one)) is None:
                continue
            news = (event for event in commit.events if is_news(event, commit))
            seen: Iterable[AnyEvent] = news if shown is None else filter(None, map(shown.of, news))
            lines += [self._line(at, event) for event in seen]
        return Page(number, tuple(lines), sum(len(line.body) for line in lines))

    def _line(self, at: int, event: AnyEvent) -> Line:
        behind = Behind(at, generation_of(event.session_id), event.sequence)
        body = EventEnvelope.of(announced(event, self._secret_keys)).to_bytes()
        return Line(behind, event.routing_key, event.session_id, body)

    async def _commits(self, named: Sequence[Named]) -> dict[Named, Commit]:
        """Return the commits of a page; those that are not there any more, or can't be read, are left out."""
        versions: dict[ConversationId, list[int]] = {}
        for one in named:
            versions.setdefault(one.conversation, []).append(one.version)
        found: dict[Named, Commit] = {}
        wanted = list(versions.items())
        for first in range(0, len(wanted), _READ):
            read = await side_by_side(self._read(one, numbers) for one, numbers in wanted[first : first + _READ])
            found |= {Named(one.conversation_id, one.version): one for commits in read for one in commits}
        return found

    async def _read(self, conversation: ConversationId, versions: Sequence[int]) -> list[Commit]:
        first, last = min(versions), max(versions)
        limit = min(last - first + 1, MAX_PAGE)
        try:
            return await self._store.log.read(conversation, first=first, last=last, limit=limit)
        except StoreDamaged as error:
            raise_if_cancelled()
            _log.error(Action.NOT_JOURNALED, conversation_id=conversation, **told(error))
            return []

    async def _shown(self, commits: Iterable[Commit]) -> "_Shown":
        by_conversation: dict[ConversationId, list[AnyEvent]] = {}
        for commit in commits:
            by_conversation.setdefault(commit.conversation_id, []).extend(commit.events)
        sessions = {event.session_id for events in by_conversation.values() for event in events}
        heads = await self._store.heads.get_many(sessions)
        gone: dict[ConversationId, set[MessageKey]] = {}
        for one, events in by_conversation.items():
            gone[one] = await gone_of(self._store, one, events)
        return _Shown(heads, frozenset(key for keys in gone.values() for key in keys))


@dataclass(frozen=True, slots=True)
class _Shown:
    """What those who come late get to see."""

    heads: dict[SessionId, SessionState]
    gone: frozenset[MessageKey]

    def of(self, event: AnyEvent) -> AnyEvent | None:
        """Return an event as they see it; None if they don't."""
        if isinstance(event, SessionDeleted | ConversationErased):
            return event
        head = self.heads.get(event.session_id)
        if head is None or head.status is SessionStatus.DELETED:
            return None
        if isinstance(event, MessageAppended) and event.sequence < head.shown_from:
            return taken_back(event, (event.message.key,))
        return taken_back(event, self.gone)
