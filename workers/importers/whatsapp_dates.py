"""The dates in WhatsApp's exports: written as the phone's language has it, and nothing says which that is."""

from collections.abc import Iterable
from datetime import date
from typing import NamedTuple


class WrittenDate(NamedTuple):
    """The three numbers of a date, as written."""

    first: str
    second: str
    third: str


def is_day_first(dates: Iterable[WrittenDate], given: bool | None) -> bool:
    """Tell whether the day stands before the month, from all dates of a file.

    A number over 12 decides; where a file has such dates in both places, the greater part of them. Else it is what is
    `given`. Else the order under which time goes back less often; else day first, which most of the world writes.
    A file with the year first needs no deciding.
    """
    day_first, month_first = _Reading(), _Reading()
    for written in dates:
        if len(written.first) < 4:
            day_first.take(to_date(written, day_first=True))
            month_first.take(to_date(written, day_first=False))
    if day_first.impossible != month_first.impossible:
        return day_first.impossible < month_first.impossible
    if given is not None:
        return given
    return day_first.backward <= month_first.backward


def to_date(written: WrittenDate, *, day_first: bool) -> date | None:
    """Return the date, or None if there is no such day. Two digits are a year from 2000 on."""
    first, second, third = (int(number) for number in written)
    if len(written.first) == 4:
        year, month, day = first, second, third
    else:
        year = third if len(written.third) == 4 else 2000 + third
        day, month = (first, second) if day_first else (second, first)
    try:
        return date(year, month, day)
    except ValueError:
        return None


class _Reading:
    """How well the dates read in one order."""

    def __init__(self) -> None:
        self.impossible = 0
        self.backward = 0
        self._last = date.min

    def take(self, day: date | None) -> None:
        if day is None:
            self.impossible += 1
            return
        self.backward += day < self._last
        self._last = day
