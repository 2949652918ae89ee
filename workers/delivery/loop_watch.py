"""Watches the event loop: whoever was frozen must not go on as if no time had passed."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from agentbus.workers.concurrency import ended

TICK: Final = 0.25
"""Seconds between two ticks."""

STALL_LIMIT: Final = 30.0
"""Seconds for which the event loop of a worker that owns nothing may stand still before it counts as dead."""


def since_boot() -> float:
    """Return seconds that also pass while the machine is suspended, which `monotonic` leaves out on Linux."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class LoopWatch:
    """Ticks on the event loop; a gap of more than `limit` seconds between ticks is a stall.

    A frozen process (SIGSTOP, a suspended virtual machine, a blocking call) wakes up with deliveries that others have
    handled meanwhile. `stalled` tells before the tick itself gets its turn.
    """

    def __init__(
        self, limit: float, on_stall: Callable[[float], None], clock: Callable[[], float] = since_boot
    ) -> None:
        self._limit = limit
        self._clock = clock
        self._on_stall = on_stall
        self._ticked = self._clock()
        self._task: asyncio.Task[None] | None = None

    @property
    def lag(self) -> float:
        """Seconds since the last tick was due; about 0 on a healthy loop."""
        return max(0.0, self._clock() - self._ticked - TICK)

    def stalled(self) -> bool:
        """Whether the loop stands still, or did until just now; the first to ask takes care of it."""
        gap = self._clock() - self._ticked
        if gap <= self._limit:
            return False
        self._ticked = self._clock()
        self._on_stall(gap)
        return True

    async def start(self) -> None:
        """Begin to tick."""
        self._ticked = self._clock()
        self._task = asyncio.create_task(self._run(), name="watch the event loop")

    async def close(self) -> None:
        """Stop. Idempotent."""
        if self._task:
            await ended({self._task})

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            if not self.stalled():
                self._ticked = self._clock()
