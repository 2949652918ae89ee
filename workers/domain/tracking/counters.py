"""The names that figures are counted under, in an hour and over a session. What is counted can be added up."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from agentbus.workers.domain.tracking.scale import quantile, step_of

Hours = dict[int, Counter[str]]
"""Figures by the hour, which is counted in UTC from 1970."""

_HOUR: Final = timedelta(hours=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Wait(StrEnum):
    """Whose time a duration is."""

    REPLY = "reply"
    """From a person's first unanswered message to the answer."""
    FIRST = "first"
    """The same, for the first answer of a session."""
    BACK = "back"
    """From an answer to the person's next message."""


EVENTS = "event."
"""Followed by the middle word of an event's routing key."""
MESSAGES = "message."
"""Followed by the role of who said it."""
CHARACTERS = "characters."
"""Of messages; followed by the role."""
TYPES = "type."
"""Followed by what a message is: text, command, or the kind of what is attached."""
ASKED = "asked"
"""Times that a person began to wait for an answer, in the hour when they asked."""
ANSWERED = "answered"
"""Those of them that came to an end, in the same hour."""
BURSTS = "bursts"
"""Times that a person wrote several messages one soon after the other."""
RETURNS = "return."
"""Followed by the whole hours that a person had been silent before they wrote again."""
NEW = "new"
"""Conversations in which a person wrote for the first time."""
STATES = "state."
"""Followed by the status that a session moved to, or the state of the installation's own."""
STARTS = "starts"
"""Sessions that began."""
ENDS = "end."
"""Followed by how a session ended."""
LASTED = "lasted.ms"
"""How long the sessions that ended had been there, added up."""


def note_wait(counts: Counter[str], wait: Wait, milliseconds: int) -> None:
    """Count a duration."""
    counts[f"{wait}.ms"] += milliseconds
    counts[f"{wait}.{step_of(milliseconds)}"] += 1


def steps_of(counts: Mapping[str, int], wait: Wait) -> Counter[int]:
    """Return the durations that were counted, by their step."""
    return Counter({int(name): count for name, count in after(counts, f"{wait}.").items() if name.isdigit()})


def wait_seconds(counts: Mapping[str, int], wait: Wait) -> dict[str, float | int | None]:
    """Return how many durations were counted, their mean, median and 95th percentile in seconds."""
    steps = steps_of(counts, wait)
    total = sum(steps.values())
    mean = counts.get(f"{wait}.ms", 0) / total / 1000 if total else None
    return {"count": total, "mean": mean, "median": quantile(steps, 0.5), "p95": quantile(steps, 0.95)}


def after(counts: Mapping[str, int], prefix: str) -> dict[str, int]:
    """Return what is counted under names that begin with `prefix`, by the rest of the name."""
    return {name.removeprefix(prefix): count for name, count in counts.items() if name.startswith(prefix)}


def added(parts: Iterable[Mapping[str, int]]) -> Counter[str]:
    """Add figures up."""
    total: Counter[str] = Counter()
    for one in parts:
        total.update(one)
    return total


def hour_of(at: datetime) -> int:
    """Return the hour that a moment is in, counted in UTC from 1970."""
    return (at - _EPOCH) // _HOUR


def moment_of_hour(hour: int) -> datetime:
    """Return the beginning of an hour."""
    return _EPOCH + hour * _HOUR


def day_of_hour(hour: int) -> int:
    """Return the ordinal of an hour's day in UTC, as `date.toordinal` counts."""
    return hour // 24 + _EPOCH.toordinal()


def first_hour_of(day: int) -> int:
    """Return the first hour of a day, of which the ordinal is given."""
    return (day - _EPOCH.toordinal()) * 24
