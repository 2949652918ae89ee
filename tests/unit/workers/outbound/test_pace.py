"""What a platform said about waiting is obeyed by all instances, and the longest of it holds."""

from datetime import timedelta

import pytest

from agentbus.contracts.clock import ManualClock
from agentbus.storage.memory import MemoryStore
from agentbus.workers.adapters.port import Capabilities
from agentbus.workers.outbound.pace import Pace
from tests.harness.conversations import address

CAN = Capabilities(receives=frozenset())


@pytest.mark.parametrize("account", [False, True])
async def test_what_one_instance_is_told_all_obey_until_it_is_over(account: bool) -> None:
    clock = ManualClock()
    store = MemoryStore(clock)
    one, other = Pace(store, clock), Pace(store, clock)
    await one.hold_back(address("lobby"), 9.0, account=account)
    assert await other.pause(address("lobby"), CAN, share=1.0) == timedelta(seconds=9)
    assert await other.is_free(address("lobby")) is False
    assert await other.is_free(address("elsewhere")) is not account
    clock.advance(timedelta(seconds=9))
    assert await other.pause(address("lobby"), CAN, share=1.0) == timedelta()


async def test_a_shorter_wait_that_another_instance_is_told_takes_nothing_off_a_longer_one() -> None:
    clock = ManualClock()
    store = MemoryStore(clock)
    one, other = Pace(store, clock), Pace(store, clock)
    until = await one.hold_back(address(), 60.0, account=False)
    assert await other.hold_back(address(), 3.0, account=False) == until
    assert await one.pause(address(), CAN, share=1.0) == timedelta(seconds=60)
    await other.hold_back(address(), 90.0, account=False)
    assert await one.pause(address(), CAN, share=1.0) == timedelta(seconds=90)


async def test_looking_whether_a_chat_is_free_counts_nothing() -> None:
    clock = ManualClock()
    pace = Pace(MemoryStore(clock), clock)
    can = Capabilities(receives=frozenset(), pace=1.0)
    assert await pace.is_free(address())
    assert await pace.pause(address(), can, share=1.0) == timedelta()
    assert await pace.is_free(address()) is False
