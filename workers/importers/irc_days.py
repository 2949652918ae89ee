"""What day and time it is in an IRC log, and what the names around it tell of day and channel."""

import re
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from pathlib import PurePath
from typing import Final

_DAY: Final = re.compile(
    r"(?:Day changed|Log opened|BEGIN LOGGING AT|Session (?:Start|Time):|---) "
    r"\w{3} (\w{3}) {1,2}(\d\d?) (?:[\d:]{1,8} )?(\d{4})"
)
_CHANNEL: Final = re.compile(
    r"(?:has (?:joined|left)|\) (?:joined|left)|[Tt]alking (?:in|on)|Topic (?:changed on|for)|Ident:) ([#&+!][^\s,:]+)"
)
_CHANNEL_IN_NAME: Final = re.compile(r"[#&][^\s,./]+?(?=[-_.]?\d{4}-?\d\d-?\d\d|\.\w+$|$)")
_CHANNEL_AS_NAME: Final = re.compile(r"[#&][^\s,/]+")
_DATE_IN_NAME: Final = re.compile(r"(?<!\d)(\d{4})[-_.]?(\d\d)[-_.]?(\d\d)(?!\d)")
_DATE_AS_NAME: Final = re.compile(r"\d{4}[-_.]?\d\d[-_.]?\d\d(?:\.\w{1,10})?")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_ONE_DAY: Final = timedelta(days=1)
_NEW_DAY_AFTER: Final = timedelta(hours=2)
_HALF_YEAR: Final = timedelta(days=183)


class Clock:
    """What day and time it is in the log: as its lines say, and what follows from one to the next."""

    def __init__(self, day: date | None) -> None:
        self.day = day
        self._time = time()
        self._offset: tzinfo | None = None

    def set_day(self, day: date) -> None:
        """Begin a day."""
        self.day, self._time = day, time()

    def advance(self, stamp: re.Match[str]) -> None:
        """Go on to the time of `stamp`; to the next day, or year, if that is far enough back."""
        now = _time_of(stamp)
        month, day = stamp["month"] or stamp["month_after"], stamp["day"] or stamp["day_before"]
        if stamp["iso"]:
            self.day = day_of(*stamp["iso"].split("-")) or self.day
        elif month:
            self.day = self._day_named(stamp["year"] or stamp["year_after"], month, day) or self.day
        elif self.day and _since_midnight(self._time) - _since_midnight(now) > _NEW_DAY_AFTER:
            self.day += _ONE_DAY
        self._time, self._offset = now, _offset_of(stamp["offset"])

    def now(self) -> datetime | None:
        """Return day and time, in a zone only if the line says which; None if there is no telling the day."""
        return datetime.combine(self.day, self._time, self._offset) if self.day else None

    def _day_named(self, year: str | None, month: str, day: str) -> date | None:
        """Return the day of a stamp, of this year or, from December on, the next, if it doesn't say which."""
        if year or self.day is None:
            return _english_day(year or "0", month, day)
        found = _english_day(str(self.day.year), month, day)
        if found and self.day - found > _HALF_YEAR:
            return _english_day(str(self.day.year + 1), month, day)
        return found


def day_begun(line: str) -> date | None:
    """Return the day that a line says begins: `Day changed Tue Jun 28 2005`, and as other programs put it."""
    found = _DAY.search(line)
    return _english_day(found[3], found[1], found[2]) if found else None


def day_in(name: PurePath) -> date | None:
    """Return the day in a file's name, else in the folders around it (`2005/06/27/#ubuntu.txt`)."""
    if found := _DATE_IN_NAME.search(name.name):
        return day_of(*found.groups())
    parts = name.parent.parts[-3:]
    return day_of(*parts) if len(parts) == 3 and all(part.isdecimal() for part in parts) else None


def channel_in(line: str) -> str | None:
    """Return the channel that a notice names."""
    found = _CHANNEL.search(line)
    return found[1].rstrip(".") if found else None


def channel_named(name: PurePath) -> str | None:
    """Return the channel in a file's name, or that of the folder of a file named after a day, as ZNC has it."""
    if found := _CHANNEL_IN_NAME.search(name.name):
        return found[0]
    folder = _CHANNEL_AS_NAME.fullmatch(name.parent.name)
    return folder[0] if folder and _DATE_AS_NAME.fullmatch(name.name) else None


def name_without_day(stem: str) -> str:
    """Return what else than the day there is in a file's name, if that is a word."""
    rest = _DATE_IN_NAME.sub("", stem).strip("-_. ")
    return rest if re.search(r"[^\W\d]", rest) else stem


def day_of(year: str, month: str, day: str) -> date | None:
    """Return that day, if there is one."""
    try:
        return date(int(year), int(month), int(day))
    except ValueError:
        return None


def _english_day(year: str, month: str, day: str) -> date | None:
    return day_of(year, str(_MONTHS.index(month) + 1), day) if month in _MONTHS else None


def _time_of(stamp: re.Match[str]) -> time:
    hour, half = int(stamp["hour"]), (stamp["half"] or "").lower()
    if half and 1 <= hour <= 12:
        hour = hour % 12 + (12 if half == "p" else 0)
    return time(hour, int(stamp["minute"]), int(stamp["second"] or 0))


def _offset_of(written: str | None) -> tzinfo | None:
    if not written or written == "Z":
        return UTC if written else None
    minutes = int(written[1:3]) * 60 + int(written[-2:])
    return timezone(timedelta(minutes=minutes if written[0] == "+" else -minutes)) if minutes < 24 * 60 else None


def _since_midnight(moment: time) -> timedelta:
    return timedelta(hours=moment.hour, minutes=moment.minute, seconds=moment.second)
