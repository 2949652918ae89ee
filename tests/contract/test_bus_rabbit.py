import pytest

from tests.contract.bus_suite import TOPOLOGY, BusContract, Connect, bus
from workers.bus.port import Bus
from workers.bus.rabbit import RabbitBus

__all__ = ["bus"]


@pytest.fixture
async def connect(amqp_url: str) -> Connect:
    async def open_one() -> Bus:
        opened = RabbitBus(amqp_url, TOPOLOGY)
        await opened.start()
        return opened

    return open_one


class TestRabbitBus(BusContract):
    pass
