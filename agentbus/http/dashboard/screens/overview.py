"""The overview: how the installation is doing, live."""

import asyncio
from functools import partial
from typing import Final

from starlette.responses import Response

from agentbus.contracts.errors import BusError
from agentbus.contracts.members import WorkerKind
from agentbus.contracts.urls import masked_in
from agentbus.http.dashboard.door import Page
from agentbus.http.dashboard.visit import Place, Same, Visit
from agentbus.operations import overview
from agentbus.operations.workers import live_workers
from agentbus.workers.concurrency import raise_if_cancelled

SAME: Final = Same("GET /v1/statistics", "agentbus doctor")

_BUS_SECONDS: Final = 3.0
_OVER: Final = 10
"""Seconds over which the rate that is shown was counted."""


async def show(visit: Visit) -> Response:
    """Show it. The broker may be away: what the store says is shown all the same."""
    app = visit.app
    figures = await visit.glances.at("statistics", partial(overview.statistics, app))
    waiting = await overview.waiting(app)
    workers = await live_workers(app.store, app.settings)
    backlog, seconds, trouble = None, [], ""
    try:
        async with asyncio.timeout(_BUS_SECONDS):
            seconds = await visit.pulse.look()
            backlog = await visit.glances.at("backlog", partial(overview.backlog, app))
    except BusError as error:
        raise_if_cancelled()
        trouble = masked_in(str(error))
    except TimeoutError:
        trouble = f"It said nothing for {_BUS_SECONDS:g} seconds."
    full = seconds[:-1][-_OVER:]  # the current second is not over
    sessions = workers[WorkerKind.SESSION]
    owned = {partition for one in sessions for partition in one.owns}
    lags = [one.commit_lag for one in sessions if one.commit_lag is not None]
    return visit.page(
        "overview.html",
        title="Overview",
        same=SAME,
        figures=figures,
        waiting=waiting,
        workers=workers,
        backlog=backlog,
        seconds=seconds[:-1],
        rate=sum(full) / len(full) if full else None,
        trouble=trouble,
        oldest=max((one.behind for one in sessions), default=None),
        lag=max(lags, default=None),
        alone=app.alone,
        unowned=app.bus.topology.partitions - len(owned),
        partitions=app.bus.topology.partitions,
    )


PAGES: Final = (Page("GET", "/", show, place=Place("/", "Overview", "")),)
