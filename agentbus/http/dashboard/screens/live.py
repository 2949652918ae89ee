"""That something has changed, told while it is looked at: server-sent events without content."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Final

from starlette.responses import Response, StreamingResponse

from agentbus.contracts.errors import BusError
from agentbus.http.dashboard.door import Page
from agentbus.http.dashboard.visit import Visit
from agentbus.http.problems import TooManyCalls
from agentbus.workers.adapters.port import LASTING
from agentbus.workers.concurrency import raise_if_cancelled

EVERY: Final = 0.5
"""Seconds between two that are told."""

BEAT: Final = 10.0
LASTS: Final = 600.0
"""Seconds after which a browser has to ask anew: who was signed out meanwhile is told no more."""

MOST: Final = 100
"""Browsers that are told at once."""

_open: set[object] = set()


async def stream(visit: Visit) -> Response:
    """Tell of each change."""
    if len(_open) >= MOST:
        raise TooManyCalls("Too many browsers are open.")
    await visit.pulse.look()
    visit.request.scope.get(LASTING, lambda: None)()
    return StreamingResponse(_changes(visit), media_type="text/event-stream")


async def _changes(visit: Visit) -> AsyncIterator[bytes]:
    mark = object()
    _open.add(mark)
    try:
        yield b"retry: 2000\n\n"
        async with asyncio.timeout(LASTS), aclosing(visit.pulse.changes(every=EVERY, beat=BEAT)) as changes:
            async for changed in changes:
                if visit.ending.is_set():
                    return
                yield b"event: changed\ndata:\n\n" if changed else b":\n\n"
    except (TimeoutError, BusError):  # the browser asks anew
        raise_if_cancelled()
        return
    finally:
        _open.discard(mark)


PAGES: Final = (Page("GET", "/live", stream),)
