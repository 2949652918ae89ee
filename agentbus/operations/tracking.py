"""How sessions are used, and making the figures of it anew."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from agentbus.composition.app import App, make_clock
from agentbus.contracts.errors import ConfigurationError, SessionNotFound
from agentbus.contracts.ids import SessionId
from agentbus.contracts.session import SessionStatus
from agentbus.plots import WEEKDAYS, Bars, charts_of, write_picture
from agentbus.storage.port import Store
from agentbus.workers.domain.tracking.chances import Assessment, Prediction
from agentbus.workers.domain.tracking.patterns import Patterns, Period, patterns_of
from agentbus.workers.tracking.catch_up import Tracker
from agentbus.workers.tracking.kept import read_series
from agentbus.workers.tracking.outlook import assess_returns, predict
from agentbus.workers.tracking.rebuilding import Rebuilding, Rebuilt

__all__ = [
    "WEEKDAYS", "Assessment", "Bars", "Patterns", "Period", "Prediction", "Rebuilt", "assess_predictions",
    "charts_of", "predict_session", "rebuild", "usage_patterns", "write_picture",
]  # fmt: skip


async def rebuild(app: App) -> AsyncIterator[Rebuilt]:
    """Make all figures anew from the logs and the archive, if there is one; yield how far this is.

    Workers may go on meanwhile. Raises StoreError, ArchiveError.
    """
    async for progress in Rebuilding(app.store, app.archive).run():
        yield progress


async def predict_session(app: App, session_id: str) -> Prediction:
    """Return what is likely to become of a session, by the figures of all. Raises SessionNotFound, StoreError."""
    state = await app.store.heads.get(SessionId(session_id))
    if state is None or state.status is SessionStatus.DELETED:
        raise SessionNotFound(f"there is no session {session_id}")
    await Tracker(app.store, app.archive).catch_up([state.conversation_id])
    return await predict(app.store, state, make_clock().now())


async def assess_predictions(store: Store, horizon: int) -> Assessment:
    """Return how far off chances of a return within `horizon` hours were: by 45 days, of the 45 that followed."""
    return await assess_returns(store, make_clock().now(), horizon)


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
