"""Which backups are kept."""

from collections import Counter
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from agentbus.storage.backup.retention import Keep, to_keep

NEW_YEAR = datetime(2026, 1, 1, 12, tzinfo=UTC)
"""A Thursday."""

moments = st.integers(-9_000, 700).map(lambda hours: NEW_YEAR + timedelta(hours=hours))
backups = st.lists(moments, max_size=40).map(lambda found: [(f"b{number}", one) for number, one in enumerate(found)])
keeps = st.builds(
    Keep, last=st.integers(0, 5), daily=st.integers(0, 5), weekly=st.integers(0, 5), monthly=st.integers(0, 5)
)


def a_year() -> list[tuple[str, datetime]]:
    """Return two backups a day, up to new year's noon."""
    return [(f"{n}", NEW_YEAR - timedelta(hours=12 * n)) for n in range(730)]


def test_the_latest_of_each_day_week_and_month_are_kept() -> None:
    assert to_keep(a_year(), Keep(last=2)) == {"0", "1"}
    # Of new year's day the one at noon; of the others that at noon, which is the later one.
    assert to_keep(a_year(), Keep(daily=4)) == {"0", "2", "4", "6"}
    of = dict(a_year())
    weekly = sorted((of[name] for name in to_keep(a_year(), Keep(weekly=3))), reverse=True)
    assert [f"{one:%Y-%m-%d %H}" for one in weekly] == ["2026-01-01 12", "2025-12-28 12", "2025-12-21 12"]
    monthly = sorted((of[name] for name in to_keep(a_year(), Keep(monthly=3))), reverse=True)
    assert [f"{one:%Y-%m-%d %H}" for one in monthly] == ["2026-01-01 12", "2025-12-31 12", "2025-11-30 12"]


def test_weeks_are_those_of_iso_8601_also_about_new_year() -> None:
    sunday, monday = datetime(2024, 12, 29, tzinfo=UTC), datetime(2024, 12, 30, tzinfo=UTC)
    found = [("sunday", sunday), ("monday", monday), ("new year", datetime(2025, 1, 1, tzinfo=UTC))]
    assert to_keep(found, Keep(weekly=2)) == {"sunday", "new year"}


def test_with_nothing_said_everything_is_kept_and_the_latest_always() -> None:
    assert to_keep(a_year(), Keep()) == {name for name, _ in a_year()}
    assert to_keep(a_year(), Keep(monthly=1)) == {"0"}
    assert to_keep([], Keep(last=3)) == frozenset()


@given(backups, keeps)
def test_what_is_kept_is_no_more_than_asked_for_and_stays_kept(found: list[tuple[str, datetime]], keep: Keep) -> None:
    kept = to_keep(found, keep)
    assert kept <= {name for name, _ in found}
    assert bool(kept) is bool(found)
    if keep.everything:
        return
    assert len(kept) <= max(1, keep.last) + keep.daily + keep.weekly + keep.monthly
    if found:
        assert max(found, key=lambda one: (one[1], one[0]))[0] in kept
    assert to_keep([one for one in found if one[0] in kept], keep) == kept, "once more, nothing goes"
    days = Counter(moment.date() for name, moment in found if name in kept)
    assert len(days) >= min(keep.daily, len({moment.date() for _, moment in found}))
