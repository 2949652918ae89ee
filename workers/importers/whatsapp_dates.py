"""The dates in WhatsApp's exports: written as the phone's language has it, and nothing says which that is."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, NamedTuple

_BUDDHIST: Final = 543
"""Years by which the Buddhist calendar is ahead of the common one."""

_ONE_DAY: Final = timedelta(days=1)
_SMALLEST_BUDDHIST: Final = 2400


class WrittenDate(NamedTuple):
    """The three numbers of a date, as written."""

    first: str
    second: str
    third: str


@dataclass(frozen=True, slots=True)
class Convention:
    """How the dates of a file are to be read."""

    day_first: bool
    buddhist: bool
    guessed: bool
    """Whether no date tells which order it is, and it makes a difference."""
    latest: date
    """The last day of the file."""


def convention_of(dates: Iterable[WrittenDate], given: bool | None, today: date) -> Convention:
    """Tell how to read the dates of a file, from all of them.

    Whether the day stands before the month: a number over 12 decides; where a file has such dates in both places, the
    greater part of them. Else it is what is `given`. Else the order in which fewer dates are still to come, in which
    time goes back less often, in which the whole is shorter. Else day first, which most of the world writes. A file
    with the year first needs no deciding. Years are Buddhist ones if they are far ahead.
    """
    day_first, month_first, year_first = _Reading(today), _Reading(today), _Reading(today)
    era: bool | None = None
    differs = False
    for written in dates:
        if era is None:
            era = is_buddhist(written, today)
        if len(written.first) == 4:
            year_first.take(to_date(written, day_first=True, buddhist=era))
        else:
            days = [to_date(written, day_first=first, buddhist=era) for first in (True, False)]
            differs = differs or days[0] != days[1]
            day_first.take(days[0])
            month_first.take(days[1])
    told = day_first.impossible != month_first.impossible
    if told:
        before = day_first.impossible < month_first.impossible
    else:
        before = day_first.cost <= month_first.cost if given is None else given
    latest = max(year_first.latest, (day_first if before else month_first).latest)
    guessed = differs and not told and given is None
    return Convention(before, bool(era), guessed, latest)


def is_buddhist(written: WrittenDate, today: date) -> bool:
    """Tell whether a year is one that only the Buddhist calendar has by now: 2567, or 67."""
    year = int(written.first if len(written.first) == 4 else written.third)
    if year < 100:
        return year + 2000 > today.year + 1 and year + 2500 - _BUDDHIST <= today.year + 1
    return _SMALLEST_BUDDHIST <= year <= today.year + 1 + _BUDDHIST


def to_date(written: WrittenDate, *, day_first: bool, buddhist: bool = False) -> date | None:
    """Return the date, or None if there is no such day. Two digits are a year from 2000 (or 2500) on."""
    first, second, third = (int(number) for number in written)
    if len(written.first) == 4:
        year, month, day = first, second, third
    else:
        year = third if len(written.third) == 4 else third + (2500 if buddhist else 2000)
        day, month = (first, second) if day_first else (second, first)
    year -= _BUDDHIST if buddhist else 0
    try:
        return date(year, month, day)
    except ValueError:
        return None


class _Reading:
    """How well the dates read in one order."""

    def __init__(self, today: date) -> None:
        self.impossible = 0
        self.latest = date.min
        self._earliest = date.max
        self._tomorrow = today + _ONE_DAY
        self._future = self._backward = 0
        self._last = date.min

    @property
    def cost(self) -> tuple[int, int, timedelta]:
        """What speaks against this order: less is better."""
        return self._future, self._backward, abs(self.latest - self._earliest)

    def take(self, day: date | None) -> None:
        if day is None:
            self.impossible += 1
            return
        self._future += day > self._tomorrow
        self._backward += day < self._last
        self._last = day
        self._earliest, self.latest = min(self._earliest, day), max(self.latest, day)
