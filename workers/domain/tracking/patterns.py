"""How sessions are used, found in figures by the hour: when, how much, who waits for whom, and where it is going."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, tzinfo
from enum import StrEnum
from math import sqrt
from typing import Final

from agentbus.contracts.ids import ConversationId
from agentbus.workers.domain.tracking.counters import (
    ANSWERED,
    ASKED,
    BURSTS,
    CHARACTERS,
    ENDS,
    EVENTS,
    MESSAGES,
    NEW,
    STARTS,
    STATES,
    TYPES,
    Hours,
    Wait,
    added,
    after,
    hour_of,
    moment_of_hour,
    wait_seconds,
)

_UNUSUAL: Final = 4.0
"""Standard deviations above what the hour of the week has as a rule, from which on it is unusual."""
_LEAST_UNUSUAL: Final = 10
"""Messages that an unusual hour has at the least."""
_LEAST_WEEKS: Final = 2
"""Weeks that it takes to say what is usual."""


class Period(StrEnum):
    """What a trend goes by."""

    HOUR = "hour"
    """One hour."""
    DAY = "day"
    """One day, in the time zone."""
    WEEK = "week"
    """Seven days from a Monday on."""
    MONTH = "month"
    """A month of the calendar."""

    def begins(self, at: datetime) -> datetime:
        """Return the beginning of the period that a moment is in, in its own time zone."""
        if self is Period.HOUR:
            return at.replace(minute=0, second=0, microsecond=0)
        day = at.replace(hour=0, minute=0, second=0, microsecond=0)
        if self is Period.WEEK:
            return day - timedelta(days=day.weekday())
        return day.replace(day=1) if self is Period.MONTH else day


@dataclass(slots=True)
class Series:
    """The figures of many conversations, added up by the hour."""

    hours: Hours = field(default_factory=dict)
    conversations: set[ConversationId] = field(default_factory=set)
    """Those with any figures."""

    def add(self, conversation: ConversationId, hours: Mapping[int, Mapping[str, int]], first: int, last: int) -> None:
        """Add the figures of a conversation in the hours from `first` up to, and without, `last`."""
        for hour, counts in hours.items():
            if first <= hour < last:
                self.hours.setdefault(hour, Counter()).update(counts)
                self.conversations.add(conversation)


@dataclass(frozen=True, slots=True)
class Silence:
    """A time in which nobody wrote anything."""

    since: datetime
    hours: int


@dataclass(frozen=True, slots=True)
class UnusualHour:
    """An hour with many more messages than that hour of the week has as a rule."""

    at: datetime
    messages: int
    usual: float


@dataclass(frozen=True, slots=True)
class Step:
    """One period of a trend."""

    begins: datetime
    messages: int
    sessions: int
    change: float | None
    """Of messages, by the period before: 0.5 is half as many again; None: there were none before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patterns:
    """What the figures of some time say. Waits are in seconds, hours and weekdays in the time zone."""

    messages: dict[str, int]
    """By the role of who said it."""
    characters: dict[str, int]
    types: dict[str, int]
    """What the messages were: text, command, or the kind of what was attached."""
    events: dict[str, int]
    """By the middle word of the routing key."""
    sessions: int
    """That began."""
    ended: dict[str, int]
    """Sessions that ended, by how."""
    states: dict[str, int]
    """Changes of status, by the new one."""
    by_hour: tuple[int, ...]
    """Messages of people, by the hour of the day, from 0 to 23."""
    by_weekday: tuple[int, ...]
    """The same, by the weekday from Monday on."""
    waits: dict[str, dict[str, float | int | None]]
    """`first`: to a session's first answer. `reply`: to an answer. `back`: to a person's next message."""
    asked: int
    unanswered: int
    """Questions that nobody answered by now."""
    bursts: int
    """Times that a person wrote five messages, each within a minute of the one before."""
    conversations: int
    returning: int
    """Those of the conversations that are not new."""
    silences: tuple[Silence, ...]
    unusual: tuple[UnusualHour, ...]
    trend: tuple[Step, ...]


def patterns_of(
    series: Series, since: datetime, until: datetime, *, zone: tzinfo, period: Period = Period.DAY, silence: int = 6
) -> Patterns:
    """Return what the figures from `since` to `until` say. `silence`: hours without a message that count as one.

    An hour of the figures is one of UTC: in a zone that is off by half an hour, what was in its second half counts
    with the hour of its beginning.
    """
    total = added(series.hours.values())
    said = {hour: _said(counts) for hour, counts in series.hours.items()}
    by_hour, by_weekday = _rhythm(series.hours, zone)
    asked = total[ASKED]
    new = total[NEW]
    return Patterns(
        messages=after(total, MESSAGES),
        characters=after(total, CHARACTERS),
        types=after(total, TYPES),
        events=after(total, EVENTS),
        sessions=total[STARTS],
        ended=after(total, ENDS),
        states=after(total, STATES),
        by_hour=by_hour,
        by_weekday=by_weekday,
        waits={wait.value: wait_seconds(total, wait) for wait in Wait},
        asked=asked,
        unanswered=max(0, asked - total[ANSWERED]),
        bursts=total[BURSTS],
        conversations=len(series.conversations),
        returning=max(0, len(series.conversations) - new),
        silences=tuple(_silences(said, since, until, silence, zone)),
        unusual=tuple(_unusual(said, since, until, zone)),
        trend=tuple(_trend(series.hours, since, until, zone, period)),
    )


def _said(counts: Mapping[str, int]) -> int:
    return sum(after(counts, MESSAGES).values())


def _rhythm(hours: Hours, zone: tzinfo) -> tuple[tuple[int, ...], tuple[int, ...]]:
    by_hour, by_weekday = [0] * 24, [0] * 7
    for hour, counts in hours.items():
        at = moment_of_hour(hour).astimezone(zone)
        said = counts.get(f"{MESSAGES}user", 0)
        by_hour[at.hour] += said
        by_weekday[at.weekday()] += said
    return tuple(by_hour), tuple(by_weekday)


def _silences(said: Mapping[int, int], since: datetime, until: datetime, least: int, zone: tzinfo) -> Iterator[Silence]:
    """Yield the times between two messages, or a message and the end, in which there was none."""
    heard = [hour for hour in sorted(said) if said[hour]]
    if not heard:
        return
    for before, next_one in zip(heard, [*heard[1:], hours_between(since, until)[1]], strict=True):
        hours = next_one - before - 1
        if hours >= least:
            yield Silence(moment_of_hour(before + 1).astimezone(zone), hours)


def _unusual(said: Mapping[int, int], since: datetime, until: datetime, zone: tzinfo) -> Iterator[UnusualHour]:
    """Yield the hours that stand out of those of the same hour of the week.

    What is usual is their mean without the hour itself; messages that come independently of each other are off from it
    by its square root (a Poisson process), so four times that is about once in thirty thousand hours.
    """
    weeks: dict[tuple[int, int], list[int]] = {}
    for hour in range(*hours_between(since, until)):
        at = moment_of_hour(hour).astimezone(zone)
        weeks.setdefault((at.weekday(), at.hour), []).append(hour)
    for hours in weeks.values():
        total = sum(said.get(hour, 0) for hour in hours)
        if len(hours) <= _LEAST_WEEKS:
            continue
        for hour in hours:
            count = said.get(hour, 0)
            usual = (total - count) / (len(hours) - 1)
            if count >= _LEAST_UNUSUAL and count > usual + _UNUSUAL * sqrt(max(usual, 1.0)):
                yield UnusualHour(moment_of_hour(hour).astimezone(zone), count, usual)


def _trend(hours: Hours, since: datetime, until: datetime, zone: tzinfo, period: Period) -> Iterator[Step]:
    found: dict[datetime, Counter[str]] = {}
    for at in _beginnings(since, until, zone, period):
        found[at] = Counter()
    for hour, counts in hours.items():
        begins = period.begins(moment_of_hour(hour).astimezone(zone))
        found.setdefault(begins, Counter()).update({"messages": _said(counts), "sessions": counts.get(STARTS, 0)})
    before: int | None = None
    for begins in sorted(found):
        messages = found[begins]["messages"]
        change = (messages - before) / before if before else None
        yield Step(begins, messages, found[begins]["sessions"], change)
        before = messages


def _beginnings(since: datetime, until: datetime, zone: tzinfo, period: Period) -> Iterator[datetime]:
    """Yield the beginnings of the periods, those in which nothing happened too."""
    seen: datetime | None = None
    for hour in range(*hours_between(since, until)):
        begins = period.begins(moment_of_hour(hour).astimezone(zone))
        if begins != seen:
            yield begins
            seen = begins


def days_of(since: datetime, until: datetime) -> tuple[date, date]:
    """Return the first and the last day, in UTC, that hold the hours from `since` to `until`."""
    return moment_of_hour(hour_of(since)).date(), moment_of_hour(hour_of(until)).date()


def hours_between(since: datetime, until: datetime) -> tuple[int, int]:
    """Return the hour in which `since` is, and the one after that in which the last moment before `until` is."""
    hour = hour_of(until)
    return hour_of(since), hour if until == moment_of_hour(hour) else hour + 1
