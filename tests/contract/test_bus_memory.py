from collections.abc import Callable

import pytest

from tests.contract.bus_cancelled_suite import BusCancelledSuite
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


@pytest.fixture
def make(bus: Bus) -> Callable[[], Bus]:
    return lambda: bus  # There is nothing outside the process that another one could share.


class TestMemoryBus(BusContract, BusCancelledSuite):
    pass
