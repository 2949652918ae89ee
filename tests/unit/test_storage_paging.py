"""Cursors: opaque, checked, and good for one kind of list."""

from datetime import UTC, datetime

import pytest

from storage.paging import decode_cursor, encode_cursor, from_milliseconds, position_of, to_milliseconds


def test_cursor_comes_back() -> None:
    cursor = encode_cursor("history", "id-😀", 3, -4)

    assert decode_cursor("history", cursor, str, int, int) == ["id-😀", 3, -4]
    assert cursor.isascii()
    assert not set(cursor) & set("+/=&?")


@pytest.mark.parametrize("types", [(str,), (int, str), (str, int, int)])
def test_cursor_of_other_parts_is_refused(types: tuple[type, ...]) -> None:
    with pytest.raises(ValueError, match="not a cursor"):
        decode_cursor("history", encode_cursor("history", "a", 1), *types)


def test_boolean_is_no_number() -> None:
    with pytest.raises(ValueError, match="not a cursor"):
        decode_cursor("history", encode_cursor("history", True), int)


@pytest.mark.parametrize("moment", [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999000, UTC)])
def test_moments_come_back(moment: datetime) -> None:
    assert from_milliseconds(to_milliseconds(moment)) == moment


@pytest.mark.parametrize("milliseconds", [10**15, -(10**15), 10**30])
def test_position_outside_of_time_is_refused(milliseconds: int) -> None:
    with pytest.raises(ValueError, match="not a date"):
        position_of("sessions", encode_cursor("sessions", milliseconds, "id"))
