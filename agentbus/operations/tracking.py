"""How sessions are used, and making the figures of it anew."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from agentbus.composition.app import App, make_clock
from agentbus.contracts.errors import ConfigurationError
from agentbus.storage.port import Store
from agentbus.workers.domain.tracking.patterns import Patterns, Period, patterns_of
from agentbus.workers.tracking.kept import read_series
from agentbus.workers.tracking.rebuilding import Rebuilding, Rebuilt

__all__ = ["Patterns", "Period", "Rebuilt", "rebuild", "usage_patterns"]


async def rebuild(app: App) -> AsyncIterator[Rebuilt]:
    """Make all figures anew from the logs and the archive, if there is one; yield how far this is.

    Workers may go on meanwhile. Raises StoreError, ArchiveError.
    """
    async for progress in Rebuilding(app.store, app.archive).run():
        yield progress


async def usage_patterns(
    store: Store, *, days: float, zone: str = "UTC", period: Period = Period.DAY, until: datetime | None = None
) -> Patterns:
    """Return how sessions were used in the last days. Raises ConfigurationError for no time zone, StoreError."""
    try:
        named = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigurationError(f"{zone!r} is no time zone: such as Europe/Berlin is one") from error
    end = until or make_clock().now()
    since = end - timedelta(days=days)
    return patterns_of(await read_series(store, since, end), since, end, zone=named, period=period)
