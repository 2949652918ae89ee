"""Moments some seconds away, in a calendar that ends."""

from datetime import datetime, timedelta


def moved(moment: datetime, seconds: float) -> datetime | None:
    """Return the moment `seconds` after `moment`, to the millisecond; None beyond the years 1 to 9999: never."""
    try:
        return moment + timedelta(milliseconds=round(seconds * 1000))
    except OverflowError:
        return None
