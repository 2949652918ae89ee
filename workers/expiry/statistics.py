"""Counts of what expiry rules did, exact however often an event comes.

Each step is a record of its own, keyed by its event: the same event again replaces it by itself, and what is counted
is the records. They are grouped by day; a day that is two days past is added up into one record of totals, which says
up to which day it holds: what is kept of those days is no longer counted, and their late repeats are passed over. So
a crash between adding up and deleting changes nothing.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from agentbus.contracts.clock import Clock
from agentbus.contracts.events import ExpiryStepTaken
from agentbus.contracts.expiry import CleanupAction
from agentbus.contracts.ids import SessionId, digest_of
from agentbus.contracts.records import Record, RecordKind
from agentbus.storage.port import Store
from agentbus.storage.reading import iter_records
from agentbus.workers.concurrency import afterwards

_TOTALS: Final = "expiry/totals"
_KEPT_DAYS: Final = 2
"""Days, today among them, that are kept record by record."""
_LEASE: Final = 60.0


class Outcome(StrEnum):
    """What became of a session by a rule."""

    WARNED = "warned"
    """It was announced that the rule is about to hold."""
    NOTIFIED = "notified"
    """Whoever listens was told."""
    SUSPENDED = "suspended"
    """It was set aside."""
    EXPIRED = "expired"
    """It ended."""
    ARCHIVED = "archived"
    """It ended, and is on its way to the archive or there."""
    MERGED = "merged"
    """It ended, and its context went into another session."""
    DELETED = "deleted"
    """It was taken away."""
    FAILED = "failed"
    """A step could not be taken; it is tried again. Counted once for the same state of a session."""


_OUTCOMES: Final = {
    CleanupAction.NOTIFY: Outcome.NOTIFIED,
    CleanupAction.SUSPEND: Outcome.SUSPENDED,
    CleanupAction.EXPIRE: Outcome.EXPIRED,
    CleanupAction.ARCHIVE: Outcome.ARCHIVED,
    CleanupAction.MERGE: Outcome.MERGED,
    CleanupAction.DELETE: Outcome.DELETED,
}

Counts = dict[str, Counter[str]]
"""By rule, then by outcome."""


@dataclass(frozen=True, slots=True)
class ExpiryStatistics:
    """What the rules did since they were first there."""

    rules: dict[str, dict[str, int]] = field(default_factory=dict)
    """By rule, then by outcome: warned, notified, suspended, expired, archived, merged, deleted, failed."""
    total: dict[str, int] = field(default_factory=dict)
    """By outcome, over all rules."""


@dataclass(frozen=True, slots=True)
class _Figure:
    """One thing to count."""

    key: str
    rule_id: str
    outcome: Outcome
    at: datetime


class StatisticsRecorder:
    """Counts steps and failures."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._through = date.min

    async def start(self) -> None:
        """Find out which days are added up."""
        first = _totals_record(self._clock.now(), self._last_day(), {})
        await self._store.records.put(first, replace=False)
        self._through = (await self._totals())[0]

    async def steps(self, events: Iterable[ExpiryStepTaken]) -> None:
        """Count steps, each once however often its event comes."""
        await self._keep({one.event_id: _figure_of(one) for one in events}.values())

    async def failure(self, session: SessionId, version: int, rule_id: str) -> None:
        """Count that a step failed for a session as it is in `version`."""
        key = f"expiry/{digest_of(('failure', session, str(version), rule_id))}"
        await self._keep([_Figure(key, rule_id, Outcome.FAILED, self._clock.now())])

    async def statistics(self) -> ExpiryStatistics:
        """Add up what is counted."""
        through, counts = await self._totals()
        today = self._clock.now().date()
        for day in _days(through, today + timedelta(days=1)):
            await self._add_up(day, counts)
        total: Counter[str] = Counter()
        for one in counts.values():
            total.update(one)
        return ExpiryStatistics({rule: dict(sorted(counts[rule].items())) for rule in sorted(counts)}, dict(total))

    async def fold(self) -> None:
        """Add up the days that are past, and delete their records. For one instance at a time; others are kept out."""
        lock = await self._store.locks.acquire("expiry/fold", ttl=_LEASE)
        if lock is None:
            return
        try:
            before, counts = await self._totals()
            self._through = before
            for day in _days(before, self._last_day()):
                await self._add_up(day, counts)
                if await self._store.locks.renew(lock.name, lock.token, ttl=_LEASE) is None:
                    return  # somebody else began anew
                await self._store.records.put(_totals_record(self._clock.now(), day, counts))
                self._through = day
            # With those of some days before: what a crash left, or came when they were added up already.
            for day in _days(before - timedelta(days=_KEPT_DAYS), self._through):
                await self._store.records.delete_group(RecordKind.FIGURE, _group(day))
        finally:
            await afterwards("let go of the figures", self._store.locks.release(lock.name, lock.token))

    def _last_day(self) -> date:
        """Return the last day to be added up."""
        return self._clock.now().date() - timedelta(days=_KEPT_DAYS)

    async def _add_up(self, day: date, counts: Counts) -> None:
        async for record in iter_records(self._store, RecordKind.FIGURE, _group(day)):
            counts[str(record.data["rule"])][str(record.data["outcome"])] += 1

    async def _totals(self) -> tuple[date, Counts]:
        record = await self._store.records.get(RecordKind.FIGURE, _TOTALS)
        counts: Counts = defaultdict(Counter)
        if record is None:
            return self._last_day(), counts
        data: Any = record.data
        for rule, found in data["counts"].items():
            counts[rule].update(found)
        return date.fromisoformat(data["through"]), counts

    async def _keep(self, figures: Iterable[_Figure]) -> None:
        records = [_record(figure) for figure in figures if figure.at.date() > self._through]
        if records:
            await self._store.records.add_many(records)


def _figure_of(event: ExpiryStepTaken) -> _Figure:
    outcome = Outcome.WARNED if event.step < 0 else _OUTCOMES[event.action]
    return _Figure(f"expiry/{event.event_id}", event.rule_id, outcome, event.at)


def _record(figure: _Figure) -> Record:
    return Record(
        kind=RecordKind.FIGURE,
        key=figure.key,
        group=_group(figure.at.date()),
        created_at=figure.at,
        data={"rule": figure.rule_id, "outcome": figure.outcome.value},
    )


def _totals_record(now: datetime, through: date, counts: Counts) -> Record:
    data: dict[str, Any] = {"through": through.isoformat(), "counts": {rule: dict(counts[rule]) for rule in counts}}
    return Record(kind=RecordKind.FIGURE, key=_TOTALS, group=_TOTALS, created_at=now, data=data)


def _group(day: date) -> str:
    return f"expiry/{day.isoformat()}"


def _days(after: date, last: date) -> list[date]:
    """Return the days after `after` up to `last`."""
    return [after + timedelta(days=number) for number in range(1, (last - after).days + 1)]
