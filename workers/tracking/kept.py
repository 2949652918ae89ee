"""What tracking keeps: a record how far each conversation was followed, one a conversation and day, one a session.

All of them carry the version of the log that they hold, and none of an older version replaces one of a newer: so it
makes no difference who follows a conversation, how often, how many do so at once, and where one of them dies. What is
kept at a version is what the log up to there comes to.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from pydantic import ValidationError

from agentbus.contracts.errors import StoreDamaged
from agentbus.contracts.ids import ConversationId, SessionId, session_id_for
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.tracking import Tracked, Usage
from agentbus.storage.port import Store
from agentbus.storage.reading import iter_records
from agentbus.workers.domain.tracking.counters import Hours
from agentbus.workers.domain.tracking.following import Followed
from agentbus.workers.domain.tracking.patterns import Series, days_of, hours_between

_FIRST: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class DayFigures:
    """A conversation's figures of one day, by the hour."""

    conversation: ConversationId
    hours: Hours


async def read_tracked(store: Store, conversation: ConversationId) -> Tracked:
    """Return how far a conversation was followed. Raises StoreDamaged for a record that can't be read."""
    record = await store.records.get(RecordKind.TRACKED, conversation)
    if record is None:
        return Tracked()
    if (tracked := tracked_in(record)) is None:
        raise StoreDamaged(f"how far conversation {conversation} was followed can't be read: agentbus tracking rebuild")
    return tracked


def tracked_in(record: Record) -> Tracked | None:
    """Return how far a conversation was followed; None if that can't be read."""
    try:
        return Tracked.model_validate(record.data)
    except ValidationError:
        return None


async def day_records(store: Store, conversation: ConversationId, days: Iterable[int]) -> dict[int, Record]:
    """Return what is kept of a conversation's days, those that there are."""
    found: dict[int, Record] = {}
    for day in sorted(days):
        if record := await store.records.get(RecordKind.ROLLUP, day_key(conversation, day)):
            found[day] = record
    return found


async def figures_between(store: Store, first: date, last: date) -> AsyncIterator[DayFigures]:
    """Yield the figures of the days from `first` to `last`, of every conversation that has any."""
    for number in range((last - first).days + 1):
        day = first + timedelta(days=number)
        async for record in iter_records(store, RecordKind.ROLLUP, day.isoformat()):
            if hours := hours_in(record):
                yield DayFigures(ConversationId(record.key.partition("/")[0]), hours)


async def read_series(store: Store, since: datetime, until: datetime) -> Series:
    """Return the figures of the hours from `since` to `until`, of all conversations. Reads each one's days."""
    series, (first, end) = Series(), hours_between(since, until)
    async for figures in figures_between(store, *days_of(since, until)):
        series.add(figures.conversation, figures.hours, first, end)
    return series


async def ledger(store: Store, first: date, last: date) -> AsyncIterator[Usage]:
    """Yield what the sessions used that began from `first` to `last`. One that can't be read is passed over."""
    month = first.replace(day=1)
    while month <= last:
        async for record in iter_records(store, RecordKind.USAGE, f"{month:%Y-%m}"):
            usage = usage_in(record)
            if usage is not None and first <= usage.started_at.date() <= last:
                yield usage
        month = (month + timedelta(days=31)).replace(day=1)


async def usage_of(store: Store, session: SessionId) -> Usage | None:
    """Return what a session used; None if it was never followed, or was erased."""
    record = await store.records.get(RecordKind.USAGE, session)
    return usage_in(record) if record else None


def usage_in(record: Record) -> Usage | None:
    """Return a ledger entry; None for one that was erased, or that this release can't read."""
    try:
        return Usage.model_validate(record.data)
    except ValidationError:
        return None


def tracked_record(conversation: ConversationId, tracked: Tracked) -> Record:
    """Return how far a conversation was followed, to be kept after all that it is about."""
    data = tracked.model_dump(mode="json", exclude_defaults=True)
    at = tracked.usage.started_at if tracked.usage else _FIRST
    return Record(kind=RecordKind.TRACKED, key=conversation, created_at=at, data=data, revision=tracked.version)


def records_after(conversation: ConversationId, followed: Followed, kept: Mapping[int, Record]) -> list[Record]:
    """Return the records of days and sessions as they are after what was followed. `kept`: those of the days by now."""
    version = followed.tracked.version
    days = sorted({*followed.parts, *followed.void_days})
    made = [_day_record(conversation, day, followed, kept.get(day)) for day in days]
    gone = [_erased_usage(session_id_for(conversation, one), version) for one in range(1, followed.erased_sessions + 1)]
    return [*made, *gone, *(usage_record(usage, version) for usage in followed.ledger.values())]


def usage_record(usage: Usage, version: int) -> Record:
    """Return a ledger entry to be kept."""
    return Record(
        kind=RecordKind.USAGE,
        key=usage.session_id,
        group=f"{usage.started_at:%Y-%m}",
        created_at=usage.started_at,
        data=usage.model_dump(mode="json", exclude_none=True),
        revision=version,
    )


def _erased_usage(session: SessionId, version: int) -> Record:
    """Return what stands in the place of an erased ledger entry: an entry that comes late does not replace it."""
    return Record(kind=RecordKind.USAGE, key=session, group="erased", created_at=_FIRST, data={}, revision=version)


def empty_day(conversation: ConversationId, day: int, version: int) -> Record:
    """Return the record of a day of which nothing is left."""
    return _record(conversation, day, {}, version)


def _day_record(conversation: ConversationId, day: int, followed: Followed, kept: Record | None) -> Record:
    hours: Hours = {}
    revision = followed.erased
    if kept is not None and kept.revision >= followed.erased:
        hours, revision = hours_in(kept), kept.revision
    for version, part in followed.parts.get(day, ()):
        if version > revision:
            for hour, counts in part.items():
                hours.setdefault(hour, Counter()).update(counts)
    return _record(conversation, day, hours, max(revision, followed.tracked.version))


def _record(conversation: ConversationId, day: int, hours: Hours, version: int) -> Record:
    data: dict[str, Any] = {str(hour): dict(sorted(hours[hour].items())) for hour in sorted(hours)}
    at = date.fromordinal(day)
    return Record(
        kind=RecordKind.ROLLUP,
        key=day_key(conversation, day),
        group=at.isoformat(),
        created_at=datetime(at.year, at.month, at.day, tzinfo=UTC),
        data=data,
        revision=version,
    )


def day_key(conversation: ConversationId, day: int) -> str:
    """Return the key of a conversation's figures of a day."""
    return f"{conversation}/{date.fromordinal(day).isoformat()}"


def hours_in(record: Record) -> Hours:
    """Return the figures in a day's record."""
    data: Any = record.data
    return {int(hour): Counter(counts) for hour, counts in data.items()}
