from collections.abc import Callable
from math import inf
from time import monotonic

import pytest

from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.bus.port import Bus
from tests.contract.bus_cancelled_suite import BusCancelledSuite
from tests.contract.bus_suite import TOPOLOGY, BusContract, Connect, Inbox, bus, message

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


async def test_what_a_durable_subscription_has_not_acknowledged_could_still_be_lost() -> None:
    async with MemoryBus(TOPOLOGY) as bus:
        await bus.declare()
        live, first, second = Inbox(), Inbox(), Inbox()
        await bus.subscribe(("session.#",), live)
        taking = await bus.subscribe(("session.#",), first, durable="one", prefetch=1)
        await bus.subscribe(("session.#",), second, durable="other")
        await bus.publish(TOPOLOGY.inbound, "0", message(0))
        assert bus.heard_until() == inf

        before = monotonic()
        await bus.publish(TOPOLOGY.events, "session.message.web", message(1))
        between = monotonic()
        await bus.publish(TOPOLOGY.events, "session.message.web", message(2))
        for delivery in await second.first(2):
            await delivery.ack()
        assert before <= bus.heard_until() <= between
        await (await first.first(1))[0].requeue()
        assert before <= bus.heard_until() <= between
        await (await first.first(2))[1].ack()
        assert between <= bus.heard_until() <= monotonic()
        await first.first(3)
        await taking.close()
        assert between <= bus.heard_until() <= monotonic()

        await bus.delete_queue(TOPOLOGY.subscription_queue("one"))
        assert bus.heard_until() == inf


async def test_an_event_is_heard_while_there_is_a_subscription_that_it_belongs_to() -> None:
    bus = MemoryBus(TOPOLOGY)
    assert bus.hears("session.message.web")  # As far as is known: it is for publishing to say that it is closed.
    async with bus:
        assert bus.hears("session.message.web")  # The exchange is for publishing to miss.
        await bus.declare()
        assert not bus.hears("session.message.web")
        live = await bus.subscribe(("session.message.*",), Inbox())
        assert bus.hears("session.message.web")
        assert not bus.hears("session.ended.web")
        await live.close()
        assert not bus.hears("session.message.web")
        await bus.subscribe(("session.#",), Inbox(), durable="one")
        assert bus.hears("session.ended.web")
        await bus.delete_queue(TOPOLOGY.subscription_queue("one"))
        assert not bus.hears("session.ended.web")
    assert bus.hears("session.ended.web")
