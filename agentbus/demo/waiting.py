"""Waiting for what the demonstration has just caused, and saying so if it does not come."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from agentbus.contracts.errors import AgentBusError

PATIENCE: Final = 20.0
"""Seconds after which the demonstration gives up waiting for something that should have happened."""


class DemoStuck(AgentBusError):
    """Something that the demonstration waited for did not happen."""


@asynccontextmanager
async def patience(what: str) -> AsyncIterator[None]:
    """Give the body `PATIENCE` seconds to see that `what` has happened. Raises DemoStuck."""
    try:
        async with asyncio.timeout(PATIENCE):
            yield
    except TimeoutError:
        raise DemoStuck(f"waited {PATIENCE:g} s, and this did not happen: {what}") from None
