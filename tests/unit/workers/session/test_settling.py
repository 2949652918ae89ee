"""Heads are flushed for many rounds together, and inputs acknowledged after that, while their conversations go on."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from agentbus.client import AgentBus
from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.errors import StoreUnavailable
from agentbus.contracts.events import MessageAppended
from agentbus.contracts.session import SessionState
from agentbus.contracts.topology import Topology
from agentbus.storage.memory import MemoryStore
from agentbus.storage.memory.heads import MemoryHeads
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.session.config import SessionWorkerConfig
from agentbus.workers.session.settling import HeadsFlush
from agentbus.workers.session.worker import SessionWorker
from tests.harness.builders import a_conversation, a_head
from tests.harness.conversations import message
from tests.harness.faults import outage
from tests.harness.patience import PATIENCE


class FlushingHeads(MemoryHeads):
    """Heads that are flushed, when the test lets them be."""

    flushes = True

    def __init__(self) -> None:
        super().__init__()
        self.may_flush = asyncio.Event()
        self.may_flush.set()
        self.begun = 0
        self.flushed: list[list[SessionState]] = []
        self.fail: list[Exception] = []

    async def flush(self, heads: Sequence[SessionState]) -> None:
        self.begun += 1
        await self.may_flush.wait()
        if self.fail:
            raise self.fail.pop(0)
        self.flushed.append(list(heads))


class Flushing(MemoryStore):
    """A store with such heads."""

    def __init__(self) -> None:
        super().__init__()
        self.heads: FlushingHeads = FlushingHeads()
        self.log._heads = self.heads


@pytest.fixture
def store() -> Flushing:
    return Flushing()


@pytest.fixture
async def flush(store: Flushing) -> AsyncIterator[HeadsFlush]:
    flush = HeadsFlush(store, enough=10)
    yield flush
    await flush.close()


async def until_begun(store: Flushing, count: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while store.heads.begun < count:
            await asyncio.sleep(0)


async def test_rounds_that_wait_share_a_flush(store: Flushing, flush: HeadsFlush) -> None:
    one, two = a_conversation(), a_conversation()
    rounds = [[a_head(one, version=1)], [a_head(one, version=2), a_head(two)], [a_head(one, version=1)]]

    await asyncio.gather(*(flush.durable(heads, inputs=1) for heads in rounds))

    assert store.heads.flushed == [[a_head(one, version=2), a_head(two)]]


async def test_enough_inputs_wait_for_nobody_else(
    store: Flushing, flush: HeadsFlush, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentbus.workers.session.settling.GATHERING", 3600.0)
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(flush.durable([a_head(a_conversation())], inputs=5) for _ in range(2)))
        await flush.durable([a_head(a_conversation())], inputs=1, at_once=True)
    assert [len(heads) for heads in store.heads.flushed] == [2, 1]


async def test_who_waits_for_the_rounds_to_end_hurries_them(store: Flushing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentbus.workers.session.settling.GATHERING", 3600.0)
    monkeypatch.setattr("agentbus.workers.session.settling.HASTE", 0.001)
    in_haste = asyncio.Event()
    flush = HeadsFlush(store, enough=10, in_haste=in_haste.is_set)
    gathering = asyncio.create_task(flush.durable([a_head(a_conversation())], inputs=1))
    await asyncio.wait([gathering], timeout=0.05)
    assert store.heads.begun == 0, "nobody waits: it gathers"

    in_haste.set()
    await asyncio.wait_for(gathering, PATIENCE)
    await flush.close()


async def test_who_comes_while_one_is_under_way_waits_for_the_next(store: Flushing, flush: HeadsFlush) -> None:
    store.heads.may_flush.clear()
    first = asyncio.create_task(flush.durable([a_head(a_conversation())], inputs=10))
    await until_begun(store, 1)
    later = [asyncio.create_task(flush.durable([a_head(a_conversation())], inputs=10)) for _ in range(3)]
    await asyncio.sleep(0)
    assert store.heads.begun == 1, "one at a time"
    assert not first.done()

    store.heads.may_flush.set()
    await asyncio.wait_for(asyncio.gather(first, *later), PATIENCE)

    assert [len(heads) for heads in store.heads.flushed] == [1, 3]


async def test_nothing_is_flushed_where_there_is_nothing_to_flush(flush: HeadsFlush) -> None:
    await flush.durable([], inputs=3)
    await HeadsFlush(MemoryStore(), enough=1).durable([a_head(a_conversation())], inputs=3)


async def test_an_outage_is_waited_out(store: Flushing, flush: HeadsFlush) -> None:
    store.heads.fail = list(outage(2))
    await flush.durable([a_head(a_conversation())], inputs=10)
    assert len(store.heads.flushed) == 1


async def test_another_failure_is_told_to_those_it_concerns_alone(store: Flushing, flush: HeadsFlush) -> None:
    store.heads.fail = [RuntimeError("a fault")]
    concerned = [flush.durable([a_head(a_conversation())], inputs=5) for _ in range(2)]
    failed = await asyncio.gather(*concerned, return_exceptions=True)
    assert [str(error) for error in failed] == ["a fault"] * 2

    await flush.durable([a_head(a_conversation())], inputs=10)
    assert len(store.heads.flushed) == 1


async def test_one_who_gives_up_leaves_the_others_their_flush(store: Flushing, flush: HeadsFlush) -> None:
    waiting = [asyncio.create_task(flush.durable([a_head(a_conversation())], inputs=1)) for _ in range(2)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.wait_for(waiting[1], PATIENCE)
    assert len(store.heads.flushed[0]) == 2


async def test_closed_nobody_waits_for_ever(store: Flushing, flush: HeadsFlush) -> None:
    store.heads.may_flush.clear()
    under_way = asyncio.create_task(flush.durable([a_head(a_conversation())], inputs=10))
    await until_begun(store, 1)
    await flush.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await asyncio.wait_for(under_way, PATIENCE)
    with pytest.raises(StoreUnavailable, match="closed"):
        await flush.durable([a_head(a_conversation())], inputs=1)


@pytest.mark.parametrize("inputs", [1, 10])
async def test_closed_before_a_flush_began_nobody_waits_for_ever(flush: HeadsFlush, inputs: int) -> None:
    waiting = asyncio.create_task(flush.durable([a_head(a_conversation())], inputs=inputs))
    await asyncio.sleep(0)  # it has gathered, or asked for the flush, which has not taken its first step
    await flush.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await asyncio.wait_for(waiting, 2)


@asynccontextmanager
async def working(bus: MemoryBus, store: Flushing) -> AsyncIterator[SessionWorker]:
    worker = SessionWorker(bus, store, config=SessionWorkerConfig(prefetch=10))
    await worker.start()
    try:
        yield worker
    finally:
        await worker.close(within=0.1)


async def test_a_conversation_goes_on_before_its_inputs_are_acknowledged(store: Flushing) -> None:
    """What was not acknowledged when the worker died comes again, is known, and its head is flushed before the ack."""
    heard: list[EventEnvelope] = []

    async def hear(event: EventEnvelope) -> None:
        heard.append(event)

    def texts() -> int:
        return sum(isinstance(event.data, MessageAppended) for event in heard)

    async def until_heard(count: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while texts() < count:
                await asyncio.sleep(0)

    async with MemoryBus(Topology(partitions=1)) as bus:
        await bus.declare()
        client = AgentBus(bus)
        client.on("session.#")(hear)
        await client.start()
        queue = bus.topology.partition_queue(next(iter(bus.topology.all_partitions())))
        store.heads.may_flush.clear()
        async with working(bus, store):
            for number in (1, 2):
                receipt = await client.publish(message(number, f"m{number}"))
                await until_heard(number)
        assert store.heads.flushed == []
        assert (await bus.depth(queue)).ready == 2, "an input was acknowledged before its head was durable"

        store.heads.may_flush.set()
        async with working(bus, store):
            await until_heard(4)
            async with asyncio.timeout(PATIENCE):
                while not store.heads.flushed:
                    await asyncio.sleep(0.01)
        await client.close()
        assert (await bus.depth(queue)).ready == 0
        assert {head.conversation_id for heads in store.heads.flushed for head in heads} == {receipt.conversation_id}
        assert max(head.version for heads in store.heads.flushed for head in heads) == 2
        commits = await store.log.read(receipt.conversation_id, limit=10)
        assert [commit.version for commit in commits] == [1, 2]


@asynccontextmanager
async def having_announced(
    store: Flushing, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[MemoryBus, SessionWorker]]:
    """Give a worker whose one input is committed and announced, and would gather for an hour with others."""
    monkeypatch.setattr("agentbus.workers.session.settling.GATHERING", 3600.0)
    async with MemoryBus(Topology(partitions=1)) as bus:
        await bus.declare()
        client = AgentBus(bus)
        heard = asyncio.Event()

        async def hear(_: EventEnvelope) -> None:
            heard.set()

        client.on("session.#")(hear)
        await client.start()
        async with working(bus, store) as worker:
            await client.publish(message(1, "m1"))
            await asyncio.wait_for(heard.wait(), PATIENCE)
            assert store.heads.begun == 0
            yield bus, worker
        await client.close()


async def test_a_partition_that_is_handed_back_is_not_waited_for(
    store: Flushing, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with having_announced(store, monkeypatch) as (bus, worker), asyncio.timeout(PATIENCE):
        await worker.drain(within=2 * PATIENCE)
        assert len(store.heads.flushed) == 1
        assert (await bus.depth(bus.topology.partition_queue(next(iter(bus.topology.all_partitions()))))).ready == 0


async def test_who_is_tried_alone_is_not_kept_waiting(store: Flushing, monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        having_announced(store, monkeypatch) as (_, worker),
        asyncio.timeout(PATIENCE),
        worker._company.exclusive(),
    ):
        assert len(store.heads.flushed) == 1
