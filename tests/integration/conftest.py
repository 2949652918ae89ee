"""Whoever sends what no library would write."""

from collections.abc import AsyncIterator

import pytest

from agentbus.workers.bus.rabbit.connections import Link


@pytest.fixture
async def attacker(amqp_url: str) -> AsyncIterator[Link]:
    link = Link(amqp_url, name="attacker", heartbeat=10, wait=10)
    yield link
    await link.close()
