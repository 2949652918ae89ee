from collections.abc import Callable

import pytest

from agentbus.workers.bus.port import Bus
from agentbus.workers.bus.rabbit import RabbitBus
from tests.contract.bus_cancelled_suite import BusCancelledSuite
from tests.contract.bus_suite import TOPOLOGY, BusContract, Connect, bus

__all__ = ["bus"]


@pytest.fixture
async def connect(amqp_url: str) -> Connect:
    async def open_one() -> Bus:
        opened = RabbitBus(amqp_url, TOPOLOGY)
        await opened.start()
        return opened

    return open_one


@pytest.fixture
def make(amqp_url: str) -> Callable[[], Bus]:
    return lambda: RabbitBus(amqp_url, TOPOLOGY)


class TestRabbitBus(BusContract, BusCancelledSuite):
    pass
