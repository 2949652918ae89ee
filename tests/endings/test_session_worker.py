"""The session worker's ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from agentbus.client import AgentBus, Receipt
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.topology import Topology
from agentbus.storage.memory import MemoryStore
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.bus.port import Message
from agentbus.workers.session.config import SessionWorkerConfig
from agentbus.workers.session.worker import SessionWorker
from tests.endings.cutting import cut_everywhere
from tests.endings.outages import Mode, Switch, nothing_left, quickly, switched_bus, switched_store
from tests.harness.conversations import message
from tests.harness.patience import PATIENCE

PARTITIONS = 4
CONFIG = SessionWorkerConfig(beat=0.05, ttl=1.0)


@dataclass
class Bench:
    bus: MemoryBus
    store: MemoryStore
    worker: SessionWorker
    store_switch: Switch
    bus_switch: Switch

    async def say(self, number: int) -> Receipt:
        return await AgentBus(self.bus).publish(message(number, sent_at=datetime.now(UTC)))

    async def until_in_hand(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while not self.worker._rounds:
                await asyncio.sleep(0)

    async def until_committed(self, receipt: Receipt) -> None:
        async with asyncio.timeout(PATIENCE):
            while not await self.store.log.commits_of_inputs(receipt.conversation_id, [receipt.input_id]):
                await asyncio.sleep(0.005)

    async def inputs(self, conversation: ConversationId) -> list[str]:
        log = await self.store.log.read(conversation, limit=100)
        return [one for commit in log for one in commit.inputs]


@asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    """Give a worker, not started, on a store and a bus that can be switched off."""
    store, switches = MemoryStore(), (Switch(), Switch())
    async with store, MemoryBus(Topology(partitions=PARTITIONS)) as bus:
        await bus.declare()
        worker = SessionWorker(switched_bus(bus, switches[1]), switched_store(store, switches[0]), config=CONFIG)
        yield Bench(bus, store, worker, *switches)


@pytest.fixture
async def there() -> AsyncIterator[Bench]:
    async with bench() as one:
        with nothing_left():
            await one.worker.start()
            yield one


@pytest.mark.parametrize("mode", [Mode.UP, Mode.DOWN, Mode.FROZEN])
@pytest.mark.parametrize("what", ["store", "bus"])
async def test_with_nothing_in_hand_it_ends_at_once_whatever_does_not_answer(
    there: Bench, what: str, mode: Mode
) -> None:
    switch = there.store_switch if what == "store" else there.bus_switch
    switch.mode = mode
    await asyncio.sleep(3 * CONFIG.beat)  # so that a heartbeat hangs
    async with quickly():
        await there.worker.close()
    async with quickly():
        await there.worker.close()


@pytest.mark.parametrize("mode", [Mode.DOWN, Mode.FROZEN])
@pytest.mark.parametrize("what", ["store", "bus"])
async def test_what_is_in_hand_is_given_up_at_the_deadline_and_comes_again(there: Bench, what: str, mode: Mode) -> None:
    switch = there.store_switch if what == "store" else there.bus_switch
    switch.mode = mode
    first = await there.say(1)
    await there.until_in_hand()
    second = await there.say(2)
    async with quickly(0.2 + 3.0):
        await there.worker.close(within=0.2)
    assert there.worker._rounds == set()
    switch.mode = Mode.UP
    after = SessionWorker(there.bus, there.store, config=CONFIG)
    await after.start()
    await there.until_committed(second)
    assert await there.inputs(first.conversation_id) == [first.input_id, second.input_id]
    await after.close()


async def test_what_is_in_hand_is_finished_if_it_can_be(there: Bench) -> None:
    there.store_switch.mode = Mode.DOWN
    receipt = await there.say(1)
    await there.until_in_hand()
    closing = asyncio.create_task(there.worker.close())
    await asyncio.sleep(0.05)
    there.store_switch.mode = Mode.UP
    async with asyncio.timeout(PATIENCE):
        await closing
    assert await there.inputs(receipt.conversation_id) == [receipt.input_id]
    assert [(await there.bus.depth(queue.name)).ready for queue in there.bus.topology.queues()] == [0] * len(
        there.bus.topology.queues()
    )


async def test_a_parking_under_way_is_finished_before_its_partition_is_handed_back(there: Bench) -> None:
    there.bus_switch.mode = Mode.DOWN
    queue = there.bus.topology.partition_queue(there.bus.topology.all_partitions()[0])
    await there.bus.publish("", queue, Message(body=b"{", message_id="bad"))
    async with asyncio.timeout(PATIENCE):
        while not there.worker._unreadable._task:
            await asyncio.sleep(0)
    closing = asyncio.create_task(there.worker.close())
    await asyncio.sleep(0.05)
    there.bus_switch.mode = Mode.UP
    async with asyncio.timeout(PATIENCE):
        await closing
    assert (await there.bus.depth(queue)).ready == 0


async def test_cancelled_at_any_await_a_start_leaves_nothing() -> None:
    async def after(one: Bench) -> None:
        with nothing_left():
            await one.worker.close()

    @asynccontextmanager
    async def make(_: int) -> AsyncIterator[Bench]:
        async with bench() as one:
            with nothing_left():
                yield one

    await cut_everywhere(make, lambda one: one.worker.start(), after, least=5)


async def test_cancelled_at_any_await_a_close_leaves_nothing_and_loses_nothing() -> None:
    @asynccontextmanager
    async def make(_: int) -> AsyncIterator[Bench]:
        async with bench() as one:
            with nothing_left():
                await one.worker.start()
                one.store_switch.mode = Mode.FROZEN
                await one.say(1)
                await one.until_in_hand()
                yield one

    async def then(one: Bench) -> None:
        with nothing_left():
            after = SessionWorker(one.bus, one.store, config=CONFIG)
            await after.start()
            receipt = await one.say(2)
            await one.until_committed(receipt)
            assert len(await one.inputs(receipt.conversation_id)) == 2
            await after.close()

    await cut_everywhere(make, lambda one: one.worker.close(within=0.05), then, least=5)
