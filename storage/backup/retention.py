"""Which backups are kept: the last few, and one a day, a week, a month for some time."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """How many are kept of each. If all are 0 every backup is."""

    last: int = 0
    """The latest."""
    daily: int = 0
    """The latest of each day, of the last days of which there is one; days, weeks and months are those of UTC."""
    weekly: int = 0
    """The latest of each week, from Monday on."""
    monthly: int = 0
    """The latest of each month."""

    @property
    def everything(self) -> bool:
        """Whether nothing is ever removed."""
        return not (self.last or self.daily or self.weekly or self.monthly)


_PERIODS: Final[dict[str, Callable[[datetime], tuple[int, ...]]]] = {
    "daily": lambda moment: (moment.year, moment.month, moment.day),
    "weekly": lambda moment: tuple(moment.isocalendar()[:2]),
    "monthly": lambda moment: (moment.year, moment.month),
}


def to_keep(backups: Iterable[tuple[str, datetime]], keep: Keep) -> frozenset[str]:
    """Return which of some backups, each with the moment (UTC) that it is of, are kept: the latest always is.

    Days without a backup don't count: seven daily ones are of seven days, however far apart these are.
    """
    latest_first = sorted(backups, key=lambda one: (one[1], one[0]), reverse=True)
    if keep.everything:
        return frozenset(name for name, _ in latest_first)
    kept = {name for name, _ in latest_first[: max(1, keep.last)]}
    for period, of in _PERIODS.items():
        seen: set[tuple[int, ...]] = set()
        for name, moment in latest_first:
            if len(seen) == getattr(keep, period):
                break
            if (which := of(moment)) not in seen:
                seen.add(which)
                kept.add(name)
    return frozenset(kept)
