import pytest

from tests.contract.bus_suite import TOPOLOGY, BusContract, Connect, bus
from workers.bus.memory import MemoryBus
from workers.bus.port import Bus

__all__ = ["bus"]


@pytest.fixture
async def connect() -> Connect:
    shared = MemoryBus(TOPOLOGY)

    async def open_one() -> Bus:
        await shared.start()
        return shared

    return open_one


class TestMemoryBus(BusContract):
    pass
