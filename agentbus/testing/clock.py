"""Time in tests: two calls within one tick of the clock bear the same time, and neither is the later one."""

import asyncio
from datetime import timedelta

from agentbus.contracts.clock import SystemClock


async def later(seconds: float = 0) -> None:
    """Wait until the clock shows a later time: by more than `seconds`, or at all."""
    clock = SystemClock()
    enough = clock.now() + timedelta(seconds=seconds)
    while clock.now() <= enough:
        await asyncio.sleep(0.001)
