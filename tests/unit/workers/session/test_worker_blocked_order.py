"""A blocked conversation keeps its order: while it is replayed and messages go on coming, and whoever owns it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import pytest

from agentbus.client import AgentBus
from agentbus.contracts.address import Scope, conversation_id_for
from agentbus.contracts.clock import ManualClock
from agentbus.contracts.commands import CreateSession, UnblockSession
from agentbus.contracts.errors import ConversationBlocked
from agentbus.contracts.ids import session_id_for
from agentbus.contracts.messages import TextContent
from agentbus.contracts.parked import ParkedInput, ParkedStatus
from agentbus.contracts.session import MOST_WAITING, FailurePolicy, SessionState
from agentbus.contracts.topology import Topology
from agentbus.operations.parked import discard_parked
from agentbus.operations.unblocking import Replayed, StillBlocked, replay_conversation
from agentbus.storage.history import iter_history
from agentbus.storage.memory import MemoryStore
from agentbus.storage.reading import iter_parked
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.bus.port import Message
from agentbus.workers.domain.admission.blocking import block, hold
from agentbus.workers.domain.decide import decide
from agentbus.workers.domain.evolve import fold
from agentbus.workers.domain.line import line_of
from agentbus.workers.session.config import SessionWorkerConfig
from agentbus.workers.session.worker import SessionWorker
from tests.harness.conversations import NOW, address, given, message
from tests.harness.patience import PATIENCE

SCOPE = Scope.PER_CHAT_USER
CONVERSATION = conversation_id_for(address(), SCOPE)
SOON = NOW + timedelta(minutes=6)
"""So far ahead that a message which says that it was sent then is parked; and right once the clock was moved on."""


class Bus(MemoryBus):
    """A bus that parks nothing while it is told to wait: a worker can die in the middle of it."""

    def __init__(self, topology: Topology) -> None:
        super().__init__(topology)
        self.parks = asyncio.Event()
        self.parks.set()
        self.waits_to_park = asyncio.Event()

    async def publish(self, exchange: str, routing_key: str, message: Message, *, mandatory: bool = True) -> None:
        if exchange == self.topology.parked:
            self.waits_to_park.set()
            await self.parks.wait()
        await super().publish(exchange, routing_key, message, mandatory=mandatory)


class Bench:
    def __init__(self, bus: Bus, store: MemoryStore) -> None:
        self.bus, self.store, self.client = bus, store, AgentBus(bus)
        self.clock = ManualClock(NOW)
        self.sent = 0

    @asynccontextmanager
    async def worker(self, *, ends_within: float = 20.0) -> AsyncIterator[SessionWorker]:
        config = SessionWorkerConfig(on_failure=FailurePolicy.BLOCK, prefetch=100)
        worker = SessionWorker(self.bus, self.store, config=config, clock=self.clock)
        await worker.start()
        try:
            yield worker
        finally:
            await worker.close(within=ends_within)

    async def send(self, count: int, *, ahead: bool = False) -> None:
        for _ in range(count):
            said = message(self.sent, str(self.sent), sent_at=SOON if ahead else NOW)
            self.sent += 1
            await self.client.publish(said)

    async def block(self, behind: int) -> None:
        """Commit message 0, let 1 fail until the clock is moved on, and the next ones wait for it."""
        await self.send(1)
        await self.send(1, ahead=True)
        await self.send(behind)
        await self.until_recorded(behind + 1)

    async def parked(self, status: ParkedStatus = ParkedStatus.PARKED) -> list[ParkedInput]:
        return [one async for one in iter_parked(self.store, status)]

    async def until_recorded(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while len(await self.parked()) < count:
                await asyncio.sleep(0.001)

    async def state(self) -> SessionState:
        head = await self.store.heads.get(session_id_for(CONVERSATION, 1))
        assert head is not None
        return head

    async def replay(self, *, within: float = PATIENCE) -> Replayed:
        return await replay_conversation(self.bus, self.store, CONVERSATION, scope=SCOPE, within=within)

    async def history(self) -> list[int]:
        texts = [one.message.content async for one in iter_history(self.store, await self.state())]
        return [int(text.text) for text in texts if isinstance(text, TextContent)]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with MemoryStore() as store, Bus(Topology(partitions=2)) as bus:
        await bus.declare()
        yield Bench(bus, store)


async def test_messages_that_come_during_a_replay_are_never_before_what_waited(bench: Bench) -> None:
    async with bench.worker():
        await bench.block(behind=4)
        bench.clock.advance(timedelta(minutes=5))
        traffic = asyncio.create_task(bench.send(100))
        replayed = await bench.replay()
        await traffic
        replayed.check()
        assert (await bench.replay()).waits_for is None
        async with asyncio.timeout(PATIENCE):
            while len(await bench.history()) < bench.sent:
                await asyncio.sleep(0.001)
        assert await bench.history() == list(range(106))
        assert await bench.parked() == []


async def test_the_order_survives_another_owner_in_the_middle_of_a_replay(bench: Bench) -> None:
    async with bench.worker():
        await bench.block(behind=30)
    bench.clock.advance(timedelta(minutes=5))
    replaying = asyncio.create_task(bench.replay())
    for _ in range(3):
        async with bench.worker(ends_within=0):
            begun = len(await bench.history())
            async with asyncio.timeout(PATIENCE):
                await bench.send(2)
                while len(await bench.history()) == begun and not replaying.done():
                    await asyncio.sleep(0)
    async with bench.worker():
        (await replaying).check()
        (await bench.replay()).check()
        async with asyncio.timeout(PATIENCE):
            while len(await bench.history()) < bench.sent:
                await asyncio.sleep(0.001)
    assert await bench.history() == list(range(bench.sent))


async def test_a_worker_that_dies_before_it_parks_leaves_the_place_in_line(bench: Bench) -> None:
    async with bench.worker(ends_within=0):
        await bench.block(behind=0)
        bench.bus.parks.clear()
        bench.bus.waits_to_park.clear()
        await bench.send(1)
        async with asyncio.timeout(PATIENCE):
            await bench.bus.waits_to_park.wait()
        await bench.send(2)
    bench.bus.parks.set()
    async with bench.worker():
        await bench.until_recorded(4)
        assert len(line_of(await bench.state())) == 4
        bench.clock.advance(timedelta(minutes=5))
        (await bench.replay()).check()
        assert await bench.history() == [0, 1, 2, 3, 4]


async def test_a_replay_ends_where_an_input_fails_again_and_says_why(bench: Bench) -> None:
    async with bench.worker():
        await bench.block(behind=2)
        replayed = await bench.replay()
        assert "ahead" in replayed.reason or "future" in replayed.reason
        with pytest.raises(StillBlocked, match="it failed again"):
            replayed.check()
        await bench.until_recorded(3)
        assert len(line_of(await bench.state())) == 3
        assert await bench.history() == [0]


async def test_a_replay_without_a_worker_ends_and_says_so(bench: Bench) -> None:
    async with bench.worker():
        await bench.block(behind=1)
    assert "does a session worker run" in (await bench.replay(within=0.05)).reason
    async with bench.worker():
        bench.clock.advance(timedelta(minutes=5))
        (await bench.replay()).check()
        assert await bench.history() == [0, 1, 2]


async def test_a_discarded_input_is_passed_over(bench: Bench) -> None:
    async with bench.worker():
        await bench.block(behind=3)
        bench.clock.advance(timedelta(minutes=5))
        for parked in await bench.parked():
            if parked.message_id in (message(1).input_id(), message(3).input_id()):
                await discard_parked(bench.store, parked.parked_id)
        (await bench.replay()).check()
        assert await bench.history() == [0, 2, 4]
        assert len(await bench.parked(ParkedStatus.DISCARDED)) == 2


async def test_a_caller_who_is_told_has_no_place_in_line(bench: Bench) -> None:
    async with bench.worker():
        await bench.block(behind=0)
        with suppress(ConversationBlocked):
            await bench.client.send(CreateSession(address=address()))
        assert len(line_of(await bench.state())) == 1
        await bench.client.send(UnblockSession(address=address(), input="another"))
        assert len(line_of(await bench.state())) == 1
        await bench.client.send(UnblockSession(address=address()))
        assert line_of(await bench.state()) == ()


def _after(state: SessionState, *inputs: str) -> SessionState:
    for one in inputs:
        _, state = fold(state, hold(state, given(message(), one).id, NOW))
    return state


def test_a_line_is_bounded_in_number_and_bytes_and_holds_each_input_once() -> None:
    _, state = fold(SessionState.empty(CONVERSATION), decide(SessionState.empty(CONVERSATION), given(message()), NOW))
    _, state = fold(state, block(state, given(message(), "first").id, "error", NOW, default=FailurePolicy.BLOCK))
    state = _after(state, "é" * 255, "é" * 255, "first", "second", "second")
    assert len(state.waiting) == 2
    assert state.waiting[1] == "second"
    assert len(state.waiting[0].encode()) <= 64
    state = _after(state.model_copy(update={"waiting": state.waiting[:1] * MOST_WAITING}), "one more")
    assert len(state.waiting) == MOST_WAITING
