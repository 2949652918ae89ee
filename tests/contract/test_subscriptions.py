"""Subscriptions on every bus: sessions side by side, each in its order, acknowledged one by one."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from structlog.testing import capture_logs

from agentbus.client import AgentBus
from agentbus.contracts.commands import CreateSession
from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.telemetry import Action
from agentbus.contracts.topology import Topology
from agentbus.contracts.writing import Writing, WritingEnvelope
from agentbus.storage.memory import MemoryStore
from agentbus.subscription import Subscription
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.bus.port import Bus, Message
from agentbus.workers.bus.rabbit import RabbitBus
from agentbus.workers.delivery.writings import Writings
from agentbus.workers.session.worker import SessionWorker
from tests.harness.builders import a_conversation, appended
from tests.harness.conversations import address, message
from tests.harness.patience import PATIENCE

TOPOLOGY = Topology(prefix="side", partitions=1)
QUEUE = TOPOLOGY.subscription_queue("bot")


@pytest.fixture(params=["memory", "rabbitmq"])
async def bus(request: pytest.FixtureRequest) -> AsyncIterator[Bus]:
    on_rabbit = request.param == "rabbitmq"
    opened = RabbitBus(request.getfixturevalue("amqp_url"), TOPOLOGY) if on_rabbit else MemoryBus(TOPOLOGY)
    async with opened as bus:
        await bus.declare()
        yield bus


class Bot:
    """A handler whose calls wait for their session to be let go."""

    def __init__(self) -> None:
        self.begun: dict[str, list[int]] = defaultdict(list)
        self.gates: dict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(0))
        self.running = 0
        self.most = 0
        self._changed = asyncio.Condition()

    async def handle(self, event: EventEnvelope) -> None:
        self.begun[event.partitionkey].append(int(event.sequence))
        self.running += 1
        self.most = max(self.most, self.running)
        await self._tell()
        try:
            await self.gates[event.partitionkey].acquire()
        finally:
            self.running -= 1
        await self._tell()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def until(self, counts: dict[str, int]) -> None:
        def reached() -> bool:
            return all(len(self.begun[a_conversation(name)]) >= count for name, count in counts.items())

        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(reached)

    async def until_idle(self) -> None:
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: self.running == 0)

    def let_go(self, name: str, times: int = 100) -> None:
        for _ in range(times):
            self.gates[a_conversation(name)].release()

    def seen(self, name: str) -> list[int]:
        return self.begun[a_conversation(name)]


async def announce(bus: Bus, name: str, *numbers: int) -> None:
    for number in numbers:
        event = appended(a_conversation(name), number, f"m{number}")
        message = Message(body=EventEnvelope.of(event).to_bytes(), message_id=event.event_id)
        await bus.publish(bus.topology.events, event.routing_key, message)


async def until_waiting(bus: Bus, count: int) -> None:
    """Return once exactly so many wait for the subscription: a broker takes them back a moment later."""
    async with asyncio.timeout(PATIENCE):
        while (await bus.depth(QUEUE)).ready != count:
            await asyncio.sleep(0.01)


def subscription(bus: Bus, bot: Bot, *, concurrency: int = 4, ordered: bool = False) -> Subscription:
    patterns = ("session.message.*",)
    return Subscription(bus, patterns, bot.handle, durable="bot", ordered=ordered, concurrency=concurrency)


@pytest.mark.parametrize("ordered", [False, True])
async def test_sessions_are_handled_side_by_side_and_each_in_its_order(bus: Bus, ordered: bool) -> None:
    bot = Bot()
    one = subscription(bus, bot, ordered=ordered)
    await one.start()
    await announce(bus, "slow", 1, 2, 3)
    await announce(bus, "quick", 1, 2, 3)
    bot.let_go("quick")
    await bot.until({"slow": 1, "quick": 3})
    assert (bot.seen("slow"), bot.seen("quick")) == ([1], [1, 2, 3])
    bot.let_go("slow", 1)
    await bot.until({"slow": 2})
    assert bot.seen("slow") == [1, 2]
    await one.close()


async def test_each_event_is_acknowledged_when_it_is_done(bus: Bus) -> None:
    bot = Bot()
    one = subscription(bus, bot)
    await one.start()
    await announce(bus, "slow", 1)
    await announce(bus, "quick", 1, 2, 3)
    bot.let_go("quick")
    await bot.until({"slow": 1, "quick": 3})
    while len(one._lanes._busy) > 1:
        await asyncio.sleep(0)
    await one.close()
    await until_waiting(bus, 1)  # what was under way, alone, comes again


async def test_no_more_are_handled_at_a_time_than_were_asked_for(bus: Bus) -> None:
    bot = Bot()
    one = subscription(bus, bot, concurrency=2)
    await one.start()
    names = [f"s{number}" for number in range(6)]
    for name in names:
        await announce(bus, name, 1)
    for name in names:
        await bot.until({name: 1})
        bot.let_go(name, 1)
    await bot.until_idle()
    assert bot.most == 2
    await one.close()


async def test_draining_finishes_what_is_in_hand_and_begins_no_more(bus: Bus) -> None:
    bot = Bot()
    one = subscription(bus, bot)
    await one.start()
    await announce(bus, "slow", 1, 2)
    await bot.until({"slow": 1})
    with capture_logs() as logs:
        draining = asyncio.create_task(one.drain(within=PATIENCE))
        while not logs:
            await asyncio.sleep(0)
        bot.let_go("slow")
        async with asyncio.timeout(PATIENCE):
            await draining
    await one.close()
    (line,) = [log for log in logs if log["event"] == Action.HANDLERS_DRAINING]
    assert line["waits_for"] == [f"{a_conversation('slow')}.1/1"]
    assert bot.seen("slow") == [1]
    await until_waiting(bus, 1)  # the second, which was not begun; the first was acknowledged


async def test_draining_ends_though_a_handler_does_not(bus: Bus) -> None:
    bot = Bot()
    one = subscription(bus, bot)
    await one.start()
    await announce(bus, "stuck", 1)
    await bot.until({"stuck": 1})
    async with asyncio.timeout(PATIENCE):
        await one.drain(within=0.05)
        await one.close()
    assert bot.running == 0
    await until_waiting(bus, 1)


async def test_what_comes_again_waits_for_what_is_in_hand_of_its_session(bus: Bus) -> None:
    bot = Bot()
    one = subscription(bus, bot)
    await one.start()
    await announce(bus, "slow", 1)
    await bot.until({"slow": 1})
    await one._consumer.reopen()
    await announce(bus, "other", 1)
    await bot.until({"other": 1})
    assert bot.seen("slow") == [1], "the same event is never handled twice at a time"
    bot.let_go("slow")
    await bot.until({"slow": 2})
    assert bot.seen("slow") == [1, 1]
    await one.close()


async def test_what_is_being_written_is_heard_and_who_subscribes_to_events_is_given_those_alone(bus: Bus) -> None:
    heard: asyncio.Queue[WritingEnvelope] = asyncio.Queue()
    events: asyncio.Queue[str] = asyncio.Queue()

    async def note(event: EventEnvelope) -> None:
        events.put_nowait(event.data.kind)

    async with AsyncExitStack() as stack:
        worker = SessionWorker(bus, MemoryStore())
        stack.push_async_callback(worker.close)
        await worker.start()
        writings = Writings(bus, ["telegram"], heard.put_nowait)
        stack.push_async_callback(writings.close)
        await writings.start()
        everything = Subscription(bus, ("session.#",), note, durable="everything")
        stack.push_async_callback(everything.close)
        await everything.start()
        client = AgentBus(bus)
        made = await client.send(CreateSession(address=address()), timeout=PATIENCE)
        assert made.session_id is not None
        await client.tell_writing(made.session_id, Writing(id="w", text="so far"), timeout=PATIENCE)
        await client.publish(message())
        async with asyncio.timeout(PATIENCE):
            assert (await heard.get()).data.text == "so far"
            assert [await events.get() for _ in range(2)] == ["session_started", "message_appended"]
