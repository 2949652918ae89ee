"""An HTTP API to try things on."""

from collections.abc import AsyncIterator

import pytest

from tests.harness.api import World, api_world


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Open an API over a store in memory."""
    async with api_world() as opened:
        yield opened
