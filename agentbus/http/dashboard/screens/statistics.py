"""How sessions are used: how much, when, who waits for whom."""

from typing import Any, Final

from starlette.responses import Response

from agentbus.http.dashboard.door import Page
from agentbus.http.dashboard.visit import Place, Same, Visit
from agentbus.operations.tracking import WEEKDAYS, Period, usage_patterns

_DAYS: Final = (1, 7, 30, 90)
_BY_DEFAULT: Final = 30


async def show(visit: Visit) -> Response:
    """Show it, for some of the last days."""
    days = next((one for one in _DAYS if str(one) == visit.asked("days")), _BY_DEFAULT)
    period = Period.HOUR if days == 1 else Period.DAY
    patterns = await usage_patterns(visit.app.store, days=days, period=period, until=visit.app.clock.now())
    return visit.page(
        "statistics.html",
        title="Statistics",
        same=Same(f"GET /v1/statistics/usage?days={days}", f"agentbus stats --days {days}"),
        days=days,
        choices=_DAYS,
        patterns=patterns,
        period=period,
        trend={
            "x": [one.begins.timestamp() for one in patterns.trend],
            "series": [
                {"label": "Messages", "y": [one.messages for one in patterns.trend]},
                {"label": "New sessions", "y": [one.sessions for one in patterns.trend]},
            ],
        },
        hours=_bars([f"{hour:02}" for hour in range(24)], patterns.by_hour),
        weekdays=_bars(list(WEEKDAYS), patterns.by_weekday),
    )


def _bars(names: list[str], counts: tuple[int, ...]) -> list[dict[str, Any]]:
    most = max((*counts, 1))
    return [{"name": name, "count": count, "share": count / most} for name, count in zip(names, counts, strict=True)]


PAGES: Final = (Page("GET", "/statistics", show, place=Place("/statistics", "Statistics", "Run")),)
