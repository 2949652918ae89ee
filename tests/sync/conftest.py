"""A world to sync in."""

from collections.abc import AsyncIterator

import pytest

from tests.sync.world import World, a_world


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with a_world() as started:
        yield started
