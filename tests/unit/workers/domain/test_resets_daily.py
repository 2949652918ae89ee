"""The daily reset: at an hour of a time zone, once a day, also on the days on which the clocks are changed."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from agentbus.contracts.commands import AppendMessage
from tests.harness.conversations import NOW
from tests.unit.workers.domain.test_decide import after, said
from tests.unit.workers.domain.test_resets import DAY, HOUR, LIVE, MINUTE, MS, began, daily, reset_of


def test_daily_at_an_hour() -> None:
    four = datetime(2026, 3, 2, 4, tzinfo=UTC)
    assert reset_of([daily(4)], LIVE, four - MS) is None
    assert reset_of([daily(4)], LIVE, four) == "daily"
    assert reset_of([daily(4)], LIVE, four + 3 * DAY) == "daily"
    assert reset_of([daily(4)], began(four), four + MINUTE) is None
    assert reset_of([daily(4)], began(four), four + DAY - MS) is None
    assert reset_of([daily(4)], began(four - MS), four) == "daily"


def test_daily_at_midnight_and_on_the_day_it_began() -> None:
    midnight = datetime(2026, 3, 2, tzinfo=UTC)
    assert reset_of([daily(0)], LIVE, midnight - MS) is None
    assert reset_of([daily(0)], LIVE, midnight) == "daily"
    assert reset_of([daily(13)], LIVE, NOW + HOUR) == "daily"
    assert reset_of([daily(12)], LIVE, NOW + HOUR) is None


def test_what_a_bot_does_after_the_hour_does_not_put_the_reset_off() -> None:
    four = datetime(2026, 3, 2, 4, tzinfo=UTC)
    active = after(LIVE, AppendMessage(message=said("good morning")), now=four + MINUTE)
    assert reset_of([daily(4)], active, four + HOUR) == "daily"


@pytest.mark.parametrize(
    ("zone", "four"),
    [
        ("Asia/Tokyo", datetime(2026, 3, 1, 19, tzinfo=UTC)),
        ("America/New_York", datetime(2026, 3, 2, 9, tzinfo=UTC)),
        ("Asia/Kathmandu", datetime(2026, 3, 1, 22, 15, tzinfo=UTC)),
        ("Pacific/Kiritimati", datetime(2026, 3, 1, 14, tzinfo=UTC)),
    ],
)
def test_the_hour_is_that_of_its_time_zone(zone: str, four: datetime) -> None:
    assert reset_of([daily(4, zone)], LIVE, four - MS) is None
    assert reset_of([daily(4, zone)], LIVE, four) == "daily"
    assert reset_of([daily(4, zone)], began(four), four + DAY - MS) is None
    assert reset_of([daily(4, zone)], began(four), four + DAY) == "daily"


@pytest.mark.parametrize(
    ("zone", "hour", "moment"),
    [
        # 29 March 2026: 2:00 to 3:00 is left out, which is 1:00 UTC.
        ("Europe/Berlin", 2, datetime(2026, 3, 29, 1, tzinfo=UTC)),
        ("Europe/Berlin", 3, datetime(2026, 3, 29, 1, tzinfo=UTC)),
        ("Europe/Berlin", 1, datetime(2026, 3, 29, 0, tzinfo=UTC)),
        ("Europe/Berlin", 4, datetime(2026, 3, 29, 2, tzinfo=UTC)),
        # 8 March 2026 in New York: 2:00 to 3:00, 7:00 UTC.
        ("America/New_York", 2, datetime(2026, 3, 8, 7, tzinfo=UTC)),
        # 6 September 2026 in Santiago: midnight to 1:00.
        ("America/Santiago", 0, datetime(2026, 9, 6, 4, tzinfo=UTC)),
        # 4 October 2026 on Lord Howe Island: 2:00 to 2:30.
        ("Australia/Lord_Howe", 2, datetime(2026, 10, 3, 15, 30, tzinfo=UTC)),
        # 13 March 2011 in St. John's: 0:01 to 1:01, so that 1:00 is left out and 1:01 the first moment after it.
        ("America/St_Johns", 1, datetime(2011, 3, 13, 3, 31, tzinfo=UTC)),
    ],
)
def test_an_hour_that_is_left_out_is_the_first_moment_after_the_gap(zone: str, hour: int, moment: datetime) -> None:
    policy = [daily(hour, zone)]
    before = began(moment - 90 * MINUTE)
    assert reset_of(policy, before, moment - MS) is None
    assert reset_of(policy, before, moment) == "daily"
    assert reset_of(policy, began(moment), moment + HOUR / 2) is None


@pytest.mark.parametrize(
    ("zone", "hour", "first"),
    [
        # 25 October 2026: 2:00 to 3:00 comes twice, at 0:00 and at 1:00 UTC.
        ("Europe/Berlin", 2, datetime(2026, 10, 25, 0, tzinfo=UTC)),
        # 1 November 2026 in New York: 1:00 to 2:00 comes twice, at 5:00 and at 6:00 UTC.
        ("America/New_York", 1, datetime(2026, 11, 1, 5, tzinfo=UTC)),
        # 4 April 2026 in Santiago: 23:00 to midnight comes twice.
        ("America/Santiago", 23, datetime(2026, 4, 5, 2, tzinfo=UTC)),
        # 6 November 2011 in St. John's: at 0:01 back to 23:01 the day before, so that midnight comes twice.
        ("America/St_Johns", 0, datetime(2011, 11, 6, 2, 30, tzinfo=UTC)),
    ],
)
def test_an_hour_that_comes_twice_counts_once_at_its_first_time(zone: str, hour: int, first: datetime) -> None:
    policy = [daily(hour, zone)]
    before = began(first - 90 * MINUTE)
    assert reset_of(policy, before, first - MS) is None
    for later in (timedelta(0), HOUR / 2, HOUR, 2 * HOUR):
        assert reset_of(policy, before, first + later) == "daily"
    again = began(first)
    assert [reset_of(policy, again, first + later) for later in (MS, HOUR / 2, HOUR, 2 * HOUR)] == [None] * 4
    assert reset_of(policy, again, first + 25 * HOUR) == "daily"


@pytest.mark.parametrize("hour", [0, 1, 12, 23])
@pytest.mark.parametrize(
    ("zone", "left_out"),
    [
        ("Pacific/Apia", date(2011, 12, 30)),
        ("Pacific/Fakaofo", date(2011, 12, 30)),
        ("Pacific/Kwajalein", date(1993, 8, 21)),
    ],
)
def test_a_day_that_is_left_out_has_no_reset(zone: str, left_out: date, hour: int) -> None:
    """On the next day there is that day's alone; the local days before and after have one each."""
    local = ZoneInfo(zone)
    days = [left_out + timedelta(days=day) for day in (-2, -1, 1, 2)]
    start = datetime.combine(days[0] - DAY, time(hour), local).astimezone(UTC)
    state, resets = began(start), []
    for minutes in range(10, 5 * 24 * 60, 10):
        at = start + minutes * MINUTE
        if at.astimezone(local).date() <= days[-1] and reset_of([daily(hour, zone)], state, at):
            state = state.model_copy(update={"created_at": at})
            resets.append(at.astimezone(local))
    assert [(one.date(), one.hour, one.minute) for one in resets] == [(day, hour, 0) for day in days]


@pytest.mark.parametrize(("zone", "days"), [("Europe/Berlin", 730), ("America/St_Johns", 730), ("Asia/Tokyo", 10)])
def test_there_is_one_reset_a_day_whatever_the_clocks_do(zone: str, days: int) -> None:
    """A message every hour: one session a local day, each begun in the first hour after the time set."""
    local = ZoneInfo(zone)
    start = datetime(2026, 1, 1, 12, tzinfo=local).astimezone(UTC)
    policy = [daily(2, zone)]
    state, begun = began(start), []
    for hour in range(1, 24 * days + 1):
        at = start + hour * HOUR
        if reset_of(policy, state, at):
            state = state.model_copy(update={"created_at": at})
            begun.append(at.astimezone(local))
    assert [one.date() for one in begun] == [(start.astimezone(local) + n * DAY).date() for n in range(1, days + 1)]
    assert {one.hour for one in begun} <= {2, 3}
