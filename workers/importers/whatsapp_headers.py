"""How WhatsApp's exports begin a message: moment, and a bracket or dash before name and text; in all languages.

Digits may be those of any script. Half the day is told before or behind the time, or not at all.
"""

import re
from dataclasses import dataclass
from datetime import time
from typing import Final, NamedTuple

from agentbus.workers.importers.whatsapp_dates import WrittenDate
from agentbus.workers.importers.whatsapp_words import AFTERNOON, BEFORE_THE_TIME, MORNING

MARKS: Final = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"
"""What steers the direction of text, and stands around names and before what WhatsApp wrote."""


def _any_of(words: frozenset[str] | tuple[str, ...]) -> str:
    """Return a pattern of words, in which a blank may be any, or none after a full stop."""
    longest_first = sorted(words, key=lambda word: (-len(word), word))
    return "|".join(re.escape(word).replace(r"\ ", r"\s?") for word in longest_first)


_M: Final = "[\u200e\u200f]{0,2}"
_HALF: Final = _any_of(MORNING | AFTERNOON)
_MOMENT: Final = (
    rf"(?P<first>\d{{4}}|\d{{1,2}}){_M}(?P<mark>[./-]|[年년])\s?(?P<second>\d{{1,2}}){_M}(?:[./-]|[月월])\s?"
    rf"(?P<third>\d{{4}}|\d{{1,2}})(?:[日일]|\.(?!\d))?(?:\s[\u0433\u0440]\.)?{_M}"
    rf"[,،、]?\s{{1,2}}(?:(?:{_any_of(BEFORE_THE_TIME)})\s)?{_M}"
    rf"(?:(?P<before>{_HALF})\s?)?"
    rf"(?P<hour>\d{{1,2}})(?:[:.]|\sh\s){_M}(?P<minute>\d\d)(?:[:.]{_M}(?P<second_of_minute>\d\d))?"
    rf"(?:\s?{_M}(?P<half>{_HALF}))?{_M}"
)
_FORMS: Final = {
    "bracket": re.compile(rf"\[{_MOMENT}\]\s?(?:[-\u2013]\s)?(?P<rest>.*)", re.DOTALL | re.IGNORECASE),
    "dash": re.compile(rf"{_MOMENT}\s[-\u2013]\s(?P<rest>.*)", re.DOTALL | re.IGNORECASE),
    "comma": re.compile(rf"{_MOMENT},\s(?P<rest>.*)", re.DOTALL | re.IGNORECASE),
    "colon": re.compile(rf"{_MOMENT}:\s(?P<rest>.*)", re.DOTALL | re.IGNORECASE),
}
_NO_HALF: Final = str.maketrans("", "", " .\u00a0\u202f")
_AFTERNOON: Final = frozenset(word.translate(_NO_HALF) for word in AFTERNOON)


class Form(NamedTuple):
    """How one export writes all its headers: lines that are written otherwise were pasted into a text."""

    kind: str
    mark: str
    with_seconds: bool
    year_first: bool
    long_year: bool


@dataclass(frozen=True, slots=True)
class Header:
    """The first line of a message or notice."""

    form: Form
    date: WrittenDate
    time: time | None
    """None if there is no such time."""
    rest: str
    """Name and text, or a notice."""


def header_in(line: str) -> Header | None:
    """Return what a line is the beginning of, if it has the form of one."""
    line = line.lstrip(MARKS)
    if not line or not (line[0] == "[" or line[0].isdecimal()):
        return None
    for kind, form in _FORMS.items():
        if (kind == "bracket") == (line[0] == "[") and (found := form.match(line)) and _is_form(kind, found):
            date = WrittenDate(found["first"], found["second"], found["third"])
            with_seconds = found["second_of_minute"] is not None
            written = Form(kind, found["mark"], with_seconds, len(date.first) == 4, len(date.third) == 4)
            return Header(written, date, _time_of(found), found["rest"])
    return None


def _is_form(kind: str, found: re.Match[str]) -> bool:
    """Tell whether it may be such a header: Korean ones alone have a comma, and a blank before the colon."""
    return kind != "comma" or not found["mark"].isascii()


def _time_of(found: re.Match[str]) -> time | None:
    hour, half = int(found["hour"]), (found["before"] or found["half"] or "").lower().translate(_NO_HALF)
    if half and hour <= 12:
        hour = hour % 12 + (12 if half in _AFTERNOON else 0)
    try:
        return time(hour, int(found["minute"]), int(found["second_of_minute"] or 0))
    except ValueError:
        return None
