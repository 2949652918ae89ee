"""What figures by the hour say: rhythm in a time zone, silences, hours that stand out, a trend."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from agentbus.contracts.ids import ConversationId
from agentbus.workers.domain.tracking.counters import hour_of
from agentbus.workers.domain.tracking.patterns import Patterns, Period, Series, hours_between, patterns_of

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
ANN, BEN = ConversationId("a" * 26), ConversationId("b" * 26)


def said(*hours: int, each: int = 1, **more: int) -> dict[int, Counter[str]]:
    """Return so many messages of people in hours that are counted from Monday."""
    return {hour_of(MONDAY) + hour: Counter({"message.user": each, **more}) for hour in hours}


def patterns(series: Series, days: float, zone: str = "UTC", period: Period = Period.DAY) -> Patterns:
    return patterns_of(series, MONDAY, MONDAY + timedelta(days=days), zone=ZoneInfo(zone), period=period)


def a_series(days: float, *parts: dict[int, Counter[str]]) -> Series:
    series = Series()
    for name, part in zip((ANN, BEN), parts, strict=False):
        series.add(name, part, *hours_between(MONDAY, MONDAY + timedelta(days=days)))
    return series


def test_hours_and_weekdays_are_those_of_the_time_zone() -> None:
    found = patterns(a_series(7, said(23, each=5)), 7, "Europe/Berlin")
    assert (found.by_hour[0], found.by_weekday[1]) == (5, 5)
    assert sum(found.by_hour) == sum(found.by_weekday) == 5


def test_what_lies_outside_of_the_time_does_not_count() -> None:
    found = patterns(a_series(1, said(-1, 0, 23, 24)), 1)
    assert found.messages == {"user": 2}


def test_who_wrote_before_is_returning() -> None:
    found = patterns(a_series(1, said(1, 2, new=0), said(3, new=1)), 1)
    assert (found.conversations, found.returning) == (2, 1)


def test_silences_lie_between_messages_and_up_to_the_end() -> None:
    found = patterns(a_series(1, said(2, 5, 14)), 1)
    assert [(one.since, one.hours) for one in found.silences] == [
        (MONDAY + timedelta(hours=6), 8),
        (MONDAY + timedelta(hours=15), 9),
    ]


def test_an_hour_stands_out_of_the_same_hour_in_other_weeks() -> None:
    usual = said(*(10 + week * 168 for week in range(5)), each=20)
    loud = said(10 + 5 * 168, each=80)
    found = patterns(a_series(42, usual | loud), 42)
    assert [(one.at, one.messages, one.usual) for one in found.unusual] == [
        (MONDAY + timedelta(hours=10, weeks=5), 80, 20.0)
    ]


def test_a_trend_has_every_period_and_says_by_how_much_it_changed() -> None:
    found = patterns(a_series(4, said(1, each=4) | said(25, each=6) | said(73, each=3)), 4)
    assert [(step.messages, step.change) for step in found.trend] == [(4, None), (6, 0.5), (0, -1.0), (3, None)]
    weeks = patterns(a_series(14, said(1, 170, starts=1)), 14, period=Period.WEEK)
    assert [(step.begins, step.messages, step.sessions) for step in weeks.trend] == [
        (MONDAY, 1, 1),
        (MONDAY + timedelta(weeks=1), 1, 1),
    ]


def test_unanswered_is_what_was_asked_and_not_answered() -> None:
    found = patterns(a_series(1, said(1, asked=3, answered=2, **{"reply.ms": 4_000, "reply.40": 2})), 1)
    assert (found.asked, found.unanswered) == (3, 1)
    assert found.waits["reply"]["count"] == 2
    assert found.waits["reply"]["mean"] == 2.0
    assert found.waits["back"] == {"count": 0, "mean": None, "median": None, "p95": None}


def test_of_nothing_there_are_no_findings() -> None:
    found = patterns(Series(), 1)
    assert (found.messages, found.silences, found.unusual, found.conversations) == ({}, (), (), 0)
