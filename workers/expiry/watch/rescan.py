"""The rescan: when the rules change, and at the first start, all sessions are looked at once.

One instance does it for all, page by page, and keeps how far it is: another one goes on from there. Sessions are
listed by their latest activity, so one that is active meanwhile moves from what is still to come to what was looked
at; so those that were active during a pass are looked at in another, much shorter one, until one page holds them all
(or in so many passes that nobody can have been missed in each).
"""

from datetime import datetime, timedelta
from typing import Final

from agentbus.contracts.base import Announced, Timestamp
from agentbus.contracts.clock import Clock
from agentbus.contracts.history import SessionFilter
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.telemetry import Action
from agentbus.storage.damage import read_as, unless_damaged
from agentbus.storage.log_lines import Logger
from agentbus.storage.port import Store
from agentbus.workers.expiry.rules import RuleBook
from agentbus.workers.expiry.watch.deadlines import Deadlines
from agentbus.workers.reactive.time_loop import Share

PAGE: Final = 500
_MOST_PASSES: Final = 5

_KEY: Final = "expiry/scan"
_SKEW: Final = timedelta(seconds=2)
"""By so much the clocks of those who write activity, and of this instance, may differ."""


class _Progress(Announced):
    """How far the rescan is."""

    fingerprint: str
    """Of the rules that it is for."""
    starts_at: Timestamp
    """Until then the other instances have these rules too."""
    pass_began: Timestamp | None = None
    active_since: Timestamp | None = None
    """Looked at are those active since then; none: all."""
    cursor: str | None = None
    passes: int = 0
    looked_at: int = 0
    done: bool = False


_log = Logger(__name__)


class Rescan:
    """Looks at all sessions when the rules have changed; a page a turn, so that other work goes on."""

    def __init__(
        self, store: Store, share: Share, book: RuleBook, deadlines: Deadlines, *, clock: Clock, settling: float
    ) -> None:
        self._store = store
        self._share = share
        self._book = book
        self._deadlines = deadlines
        self._clock = clock
        self._settling = timedelta(seconds=settling)

    async def turn(self) -> bool:
        """Look at a page of sessions, if there is a rescan to do; return whether there is more."""
        if not self._share.leads:
            return False
        now = self._clock.now()
        record = await self._store.records.get(RecordKind.FIGURE, _KEY)
        progress = unless_damaged(record, _progress) if record else None  # begun anew if a later release was at it
        if progress is None or progress.fingerprint != self._book.fingerprint:
            await self._save(_Progress(fingerprint=self._book.fingerprint, starts_at=now + self._settling))
            return False
        if progress.done or now < progress.starts_at:
            return False
        progress = await self._page(progress, now)
        await self._save(progress)
        if progress.done:
            _log.info(Action.EXPIRY_SCANNED, sessions=progress.looked_at)
        return not progress.done

    async def _page(self, progress: _Progress, now: datetime) -> _Progress:
        """Look at the next page; return how far it is then."""
        first = progress.cursor is None
        began = now if first else progress.pass_began or now
        try:
            page = await self._store.heads.page(SessionFilter(), limit=PAGE, cursor=progress.cursor)
        except ValueError:  # the store was exchanged for another kind: its cursors are others
            return progress.model_copy(update={"cursor": None, "active_since": None})
        since = progress.active_since
        heads = [head for head in page.items if since is None or (head.last_activity or now) >= since]
        await self._deadlines.look_again(heads)
        over = page.cursor is None or len(heads) < len(page.items)
        looked_at = progress.looked_at + len(heads)
        if not over:
            return progress.model_copy(update={"cursor": page.cursor, "pass_began": began, "looked_at": looked_at})
        return progress.model_copy(
            update={
                "cursor": None,
                "active_since": began - _SKEW,
                "passes": progress.passes + 1,
                "looked_at": looked_at,
                "done": first or progress.passes + 1 >= _MOST_PASSES,
            }
        )

    async def _save(self, progress: _Progress) -> None:
        data = progress.model_dump(mode="json")
        now = self._clock.now()
        await self._store.records.put(Record(kind=RecordKind.FIGURE, key=_KEY, group=_KEY, created_at=now, data=data))


def _progress(record: Record) -> _Progress:
    return read_as("how far the rescan is", _Progress.model_validate, record.data)
