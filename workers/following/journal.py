"""The journal: which commits were announced, of all conversations, in one order that everybody sees alike.

It holds names of commits, in numbered pages, and nothing of what they say: that is read from the log, as it is then. A
page is kept only if there is none of its number yet: so whoever writes knows that nobody wrote in between. Beside it, a
mark says how far each conversation's log is in it: nothing is in it twice, however late or often it is heard of.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, NamedTuple, Self
from uuid import uuid4

from agentbus.contracts.clock import Clock
from agentbus.contracts.errors import StoreDamaged
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.telemetry import Action
from agentbus.storage.log_lines import Logger
from agentbus.storage.port import MAX_PAGE, Store
from agentbus.workers.concurrency import raise_if_cancelled, side_by_side
from agentbus.workers.faults import told

KEPT: Final = timedelta(days=7)
"""For how long pages are kept: so long may somebody be away and get all that they missed."""

MOST: Final = 100
"""Commits on a page."""

_MARKED: Final = 2
"""How much longer than pages marks are kept: where there is none, all that is older than a page can be is in it."""
_SKEW: Final = timedelta(minutes=1)
"""How far clocks may differ."""
_PAGES, _JOURNAL = "pages", "journal"
_LOOKED_AT: Final = 20
_AT_ONCE: Final = 16
_DROPS: Final = 20
"""How many times that many at a time."""
_PLACE: Final = re.compile(r"([0-9a-f]{8})-([0-9]{1,12})(?:\.([0-9]{1,3})\.([0-9]{1,9})\.([0-9]{1,18}))?")

_log = Logger(__name__)


class Named(NamedTuple):
    """A commit, by its name."""

    conversation: ConversationId
    version: int


class Behind(NamedTuple):
    """Behind an event on a page: of the commit at this place of it, by its session's generation and its sequence."""

    at: int
    generation: int
    sequence: int


@dataclass(frozen=True, slots=True)
class Place:
    """Behind an event of a page; or behind all of it, if none is named."""

    journal: str
    page: int
    event: Behind | None = None

    @classmethod
    def read(cls, text: str) -> Self | None:
        """Return the place that a reader hands back; None for what is none."""
        found = _PLACE.fullmatch(text)
        if found is None:
            return None
        event = Behind(int(found[3]), int(found[4]), int(found[5])) if found[3] else None
        return cls(found[1], int(found[2]), event)

    def __str__(self) -> str:
        behind = ".".join(str(part) for part in self.event) if self.event else ""
        return f"{self.journal}-{self.page}.{behind}" if behind else f"{self.journal}-{self.page}"


@dataclass(frozen=True, slots=True)
class Beginning:
    """Which journal a store has."""

    name: str
    """By chance: places in another one, that was there before a restore, are none in this."""
    since: datetime


class Journal:
    """The journal of a store. Each call raises StoreError."""

    def __init__(self, store: Store, clock: Clock, *, kept: timedelta = KEPT) -> None:
        self._store = store
        self._clock = clock
        self._kept = kept
        self._beginning: Beginning | None = None

    async def beginning(self) -> Beginning:
        """Return which journal it is; begin it if there is none."""
        if self._beginning is None:
            record = await self._store.records.get(RecordKind.JOURNAL, _JOURNAL)
            if record is None:
                begun = Record(
                    kind=RecordKind.JOURNAL,
                    key=_JOURNAL,
                    group=_JOURNAL,
                    created_at=self._clock.now(),
                    data={"name": uuid4().hex[:8]},
                )
                await self._store.records.put(begun, replace=False)
                record = await self._store.records.get(RecordKind.JOURNAL, _JOURNAL)
            if record is None:
                raise StoreDamaged("the journal that was begun is not there")
            self._beginning = Beginning(str(record.data["name"]), record.created_at)
        return self._beginning

    async def last(self) -> int:
        """Return the number of the last page, 0 if there is none."""
        latest = await self._store.records.page(RecordKind.JOURNAL, _PAGES, limit=_LOOKED_AT)
        last = max((int(record.key) for record in latest.items), default=0)
        # By the writers' clocks it may not be the latest. But there are no gaps.
        while await self.page(last + 1) is not None:
            last += 1
        return last

    async def page(self, number: int) -> tuple[Named, ...] | None:
        """Return what is on a page; None if it is not there, yet or any more. One that can't be read says nothing."""
        try:
            record = await self._store.records.get(RecordKind.JOURNAL, _key(number))
            return None if record is None else tuple(_named(record))
        except StoreDamaged as error:
            raise_if_cancelled()
            _log.error(Action.NOT_JOURNALED, page=number, **told(error))
            return ()

    async def write(self, number: int, commits: Sequence[Named]) -> bool:
        """Write a page, if there is none of its number; return whether it was written."""
        now = self._clock.now()
        page = Record(
            kind=RecordKind.JOURNAL,
            key=_key(number),
            group=_PAGES,
            created_at=now,
            data={"commits": [[one.conversation, one.version] for one in commits]},
            due_at=now + self._kept,
        )
        return await self._store.records.put(page, replace=False)

    async def marks(self, conversations: Iterable[ConversationId]) -> dict[ConversationId, int]:
        """Return up to which version each conversation's log is in the journal, as far as it is marked."""
        wanted = list(conversations)
        found: dict[ConversationId, int] = {}
        for first in range(0, len(wanted), _AT_ONCE):
            some = wanted[first : first + _AT_ONCE]
            records = await side_by_side(self._store.records.get(RecordKind.JOURNALED, one) for one in some)
            found |= {one: record.revision for one, record in zip(some, records, strict=True) if record}
        return found

    async def mark(self, versions: Mapping[ConversationId, int]) -> None:
        """Say how far conversations' logs are in the journal. A lower version replaces no higher one."""
        now = self._clock.now()
        make = partial(Record, kind=RecordKind.JOURNALED, created_at=now, data={}, due_at=now + _MARKED * self._kept)
        await self._store.records.put_many([make(key=one, revision=version) for one, version in versions.items()])

    async def unmarked_since(self) -> datetime:
        """Return from when on the commits of a conversation without a mark may not be in the journal yet."""
        return max((await self.beginning()).since - _SKEW, self._clock.now() - self._kept)

    async def forget(self, last: int) -> None:
        """Let go of pages and marks whose time is over; the `last` page stays, as its number must."""
        for kind in (RecordKind.JOURNAL, RecordKind.JOURNALED):
            for _ in range(_DROPS):
                due = await self._store.records.due(kind, self._clock.now(), limit=MAX_PAGE)
                await self._store.records.drop([record for record in due if record.key != _key(last)])
                if len(due) < MAX_PAGE:
                    break


def _key(number: int) -> str:
    return f"{number:012}"


def _named(page: Record) -> Iterator[Named]:
    commits: Any = page.data.get("commits")
    try:
        for conversation, version in commits:
            yield Named(ConversationId(conversation), int(version))
    except (TypeError, ValueError):
        raise StoreDamaged(f"page {page.key} of the journal can't be read") from None
