"""A subscription from a sequence on: what was missed comes from the log, then what happens, each once and in order."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

import agentbus.workers.delivery.retry
import agentbus.workers.reactive.handler
from agentbus.catching_up import CatchUp
from agentbus.client import AgentBus
from agentbus.contracts.commands import CloseSession, CommandReply, CreateSession, DeleteMessage, DeleteSession, SetData
from agentbus.contracts.errors import ConfigurationError, ReplyTimeout, SessionNotFound
from agentbus.contracts.events import MessageAppended
from agentbus.contracts.ids import SessionId, session_id_for
from agentbus.contracts.profile import Profile
from agentbus.contracts.telemetry import Action
from agentbus.contracts.topology import Topology
from agentbus.received import ReceivedEvent
from agentbus.storage.memory import MemoryStore
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.session import queries
from agentbus.workers.session.worker import SessionWorker
from tests.harness.builders import a_conversation
from tests.harness.conversations import address, message
from tests.harness.patience import PATIENCE

ALL = "session.#"


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((agentbus.workers.reactive.handler, "FAILING"), (agentbus.workers.delivery.retry, "AWAY")):
        monkeypatch.setattr(module, name, replace(getattr(module, name), longest_wait=0))


class World:
    """One session worker, and clients of it."""

    def __init__(self, bus: MemoryBus, store: MemoryStore) -> None:
        self.bus = bus
        self.store = store
        self.worker = SessionWorker(bus, store)
        self.client = AgentBus(bus)
        self.said = 0

    async def session(self) -> SessionId:
        made = CreateSession(address=address(), profile=Profile(owner="ada"), data={"token": "kept", "step": 1})
        session = (await self.client.send(made)).session_id
        assert session is not None
        return session

    async def say(self, session: SessionId, count: int = 1) -> None:
        """Publish messages; all are committed on return."""
        numbers = range(self.said + 1, self.said + count + 1)
        await self.client.publish_many([message(number, f"says {number}") for number in numbers])
        self.said += count
        await self.client.send(SetData(session_id=session, values={"said": self.said}))

    async def events(self, session: SessionId) -> list[str]:
        commits = await self.store.log.read(session.partition(".")[0], limit=1000)  # type: ignore[arg-type] # a test
        return [event.event_id for one in commits for event in one.events if event.session_id == session]


class Following:
    """A client with one handler, that notes what it is given."""

    def __init__(self, world: World, *patterns: str, session: SessionId, first: int = 1) -> None:
        self.client = AgentBus(world.bus)
        self.got: list[ReceivedEvent] = []
        self.more = asyncio.Event()
        self.fails: list[Exception] = []
        self.client.on(*patterns or (ALL,), session=session, from_sequence=first)(self.handle)

    async def handle(self, event: ReceivedEvent) -> None:
        if self.fails:
            raise self.fails.pop()
        self.got.append(event)
        self.more.set()

    async def until(self, count: int) -> list[str]:
        """Return the ids of what came, once it is `count` events."""
        async with asyncio.timeout(PATIENCE):
            while len(self.got) < count:
                self.more.clear()
                await self.more.wait()
        return [event.id for event in self.got]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with MemoryBus(Topology(partitions=2)) as bus, MemoryStore() as store:
        await bus.declare()
        world = World(bus, store)
        await world.worker.start()
        yield world
        await world.client.close()
        await world.worker.close()


async def test_what_was_missed_comes_first_and_then_what_happens(world: World) -> None:
    session = await world.session()
    await world.say(session, 30)  # more than one answer holds
    following = Following(world, session=session)
    await following.client.start()
    await following.client.start()
    await world.say(session, 5)
    every = await world.events(session)
    assert await following.until(len(every)) == every
    assert all(isinstance(event, ReceivedEvent) for event in following.got)
    assert "token" not in following.got[0].data.data  # type: ignore[union-attr] # that it was started
    await following.client.close()


async def test_it_begins_at_its_sequence_and_takes_its_topics_alone(world: World) -> None:
    session = await world.session()
    await world.say(session, 8)
    every = await world.events(session)
    for first in (1, 4, len(every), len(every) + 2):
        following = Following(world, session=session, first=first)
        messages = Following(world, "session.message.*", session=session, first=first)
        await following.client.start()
        await messages.client.start()
        await world.say(session, 3)
        every = await world.events(session)
        assert await following.until(len(every) - first + 1) == every[first - 1 :]
        wanted = [one.id for one in following.got if isinstance(one.data, MessageAppended)]
        assert await messages.until(len(wanted)) == wanted
        await following.client.close()
        await messages.client.close()


async def test_what_is_committed_while_the_log_is_read_comes_once(world: World) -> None:
    session = await world.session()
    await world.say(session, 3)
    following = Following(world, session=session)
    real, asked = world.store.log.read, 0

    async def meanwhile(*given: Any, **more: Any) -> Any:
        nonlocal asked
        asked += 1
        read = await real(*given, **more)
        if asked <= 4:
            world.store.log.read = real  # type: ignore[method-assign] # the session worker reads as well
            await world.say(session, 2)
            world.store.log.read = meanwhile  # type: ignore[method-assign]
        return read

    world.store.log.read = meanwhile  # type: ignore[method-assign]
    await following.client.start()
    world.store.log.read = real  # type: ignore[method-assign]
    await world.say(session, 2)
    every = await world.events(session)
    assert await following.until(len(every)) == every
    await following.client.close()


async def test_nothing_is_missed_while_the_subscription_is_lost(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    session = await world.session()
    following = Following(world, session=session)
    await following.client.start()
    await following.until(1)
    gone, back = asyncio.Event(), asyncio.Event()
    real = world.bus.subscribe

    async def later(*given: Any, **more: Any) -> Any:
        gone.set()
        await back.wait()
        return await real(*given, **more)

    monkeypatch.setattr(world.bus, "subscribe", later)
    world.bus.disconnect()
    async with asyncio.timeout(PATIENCE):
        await gone.wait()
    await world.say(session, 3)
    back.set()
    every = await world.events(session)
    assert await following.until(len(every)) == every
    await following.client.close()


async def test_a_message_that_was_taken_back_is_not_read_by_catching_up(world: World) -> None:
    session = await world.session()
    await world.say(session, 2)
    said = [event for event in await _events_of(world, session) if isinstance(event, MessageAppended)]
    await world.client.send(DeleteMessage(session_id=session, target=said[0].message.key))
    following = Following(world, "session.message.*", session=session)
    await following.client.start()
    await following.until(2)
    texts = [event.data.message.content.text for event in following.got]  # type: ignore[union-attr]
    assert texts == ["", "says 2"]
    await following.client.close()


async def _events_of(world: World, session: SessionId) -> list[Any]:
    commits = await world.store.log.read(session.partition(".")[0], limit=1000)  # type: ignore[arg-type] # a test
    return [event for one in commits for event in one.events]


async def test_events_of_a_later_release_are_passed_over(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    session = await world.session()
    await world.say(session, 2)
    following = Following(world, session=session)
    real = following.client._missed

    async def later(*asked: Any) -> CommandReply:
        answer = await real(*asked)
        bodies = [body.replace('"data_set"', '"of_a_later_release"') for body in answer.events or ()]
        return answer.model_copy(update={"events": tuple(bodies)})

    [subscription] = following.client._subscriptions
    monkeypatch.setattr(subscription, "_ask", later)
    await following.client.start()
    every = await _events_of(world, session)
    known = [event.event_id for event in every if event.kind != "data_set"]
    assert await following.until(len(known)) == known
    await following.client.close()


async def test_long_events_come_in_several_answers(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "_EVENT_BYTES", 1)
    session = await world.session()
    await world.say(session, 5)
    following = Following(world, session=session)
    await following.client.start()
    every = await world.events(session)
    assert await following.until(len(every)) == every
    await following.client.close()


async def test_it_ends_with_its_session(world: World) -> None:
    session = await world.session()
    following = Following(world, session=session)
    await following.client.start()
    await following.until(1)
    with capture_logs() as logs:
        await world.client.send(DeleteSession(session_id=session))
        async with asyncio.timeout(PATIENCE):
            while not any(one["event"] == "events_ended" for one in logs):
                await asyncio.sleep(0.001)
    await following.client.close()


async def test_an_earlier_session_is_followed_to_its_end(world: World) -> None:
    session = await world.session()
    await world.say(session, 2)
    await world.client.send(CloseSession(session_id=session))
    later = await world.session()
    await world.say(later, 2)
    following = Following(world, session=session, first=2)
    await following.client.start()
    every = await world.events(session)
    assert await following.until(len(every) - 1) == every[1:]
    await following.client.close()


async def test_what_a_handler_fails_with_passes_or_is_passed_over(world: World) -> None:
    session = await world.session()
    await world.say(session, 1)
    following = Following(world, session=session)
    following.fails = [ReplyTimeout(), *(LookupError() for _ in range(4))]
    await following.client.start()
    every = await world.events(session)
    assert await following.until(len(every)) == every
    again = Following(world, session=session)
    again.fails = [LookupError() for _ in range(5)]  # more than an event is tried
    await again.client.start()
    assert await again.until(len(every) - 1) == every[1:]
    await following.client.close()
    await again.client.close()


async def test_who_cannot_begin_leaves_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = session_id_for(a_conversation("nowhere"), 1)
    following = Following(world, session=nowhere)
    before = len(world.bus._broker.queues)
    with pytest.raises(SessionNotFound):
        await following.client.start()
    assert len(world.bus._broker.queues) == before
    await following.client.close()

    async def never(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    session = await world.session()
    cancelled = Following(world, session=session)
    monkeypatch.setattr(cancelled.client, "_query", never)
    [subscription] = cancelled.client._subscriptions
    monkeypatch.setattr(subscription, "_ask", never)
    starting = asyncio.create_task(cancelled.client.start())
    async with asyncio.timeout(PATIENCE):
        while len(world.bus._broker.queues) == before:
            await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert len(world.bus._broker.queues) == before


async def test_draining_waits_for_the_handler_and_begins_no_more(world: World) -> None:
    session = await world.session()
    await world.say(session, 3)
    client, begun, go, got = AgentBus(world.bus), asyncio.Event(), asyncio.Event(), list[str]()

    @client.on(ALL, session=session, from_sequence=1)
    async def handle(event: ReceivedEvent) -> None:
        begun.set()
        await go.wait()
        got.append(event.id)

    await client.start()
    async with asyncio.timeout(PATIENCE):
        await begun.wait()
    draining = asyncio.create_task(client.drain(grace=PATIENCE))
    await asyncio.sleep(0)
    assert not draining.done()
    go.set()
    await draining
    assert got == (await world.events(session))[:1]
    await client.close()
    assert got == (await world.events(session))[:1]


async def test_what_makes_no_sense_is_told_at_once(world: World) -> None:
    session = "a" * 26 + ".1"
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"from_sequence": 1}, "go together"),
        ({"session": session}, "go together"),
        ({"session": session, "from_sequence": 1, "durable": "mine"}, "by itself"),
        ({"session": session, "from_sequence": 0}, "from 1"),
        ({"session": session, "from_sequence": True}, "from 1"),
        ({"session": session, "from_sequence": 2**63}, "from 1"),
        ({"session": "lobby", "from_sequence": 1}, "no session's id"),
    ]
    for given, says in wrong:
        with pytest.raises(ConfigurationError, match=says):
            world.client.on(ALL, **given)


async def test_run_ends_with_its_session(world: World) -> None:
    session = await world.session()
    following = Following(world, session=session)
    running = asyncio.create_task(following.client.run())
    await following.until(1)
    await world.client.send(DeleteSession(session_id=session))
    with pytest.raises(SessionNotFound):
        async with asyncio.timeout(PATIENCE):
            await running
    await following.client.close()


async def test_run_goes_on_while_anything_may_come(world: World) -> None:
    first = await world.session()
    following = Following(world, session=first)
    came = asyncio.Event()

    @following.client.on("session.closed.*")
    async def closed(_: ReceivedEvent) -> None:
        came.set()

    running = asyncio.create_task(following.client.run())
    await following.until(1)
    await world.client.send(DeleteSession(session_id=first))
    [subscription, _] = following.client._subscriptions
    assert isinstance(subscription, CatchUp)
    async with asyncio.timeout(PATIENCE):
        assert isinstance(await subscription.over(), SessionNotFound)
        other = await world.session()
        await world.client.send(CloseSession(session_id=other))
        await came.wait()
    assert not running.done()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await following.client.close()


async def test_run_raises_what_nobody_foresaw(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    session = await world.session()
    following = Following(world, session=session)
    following.client.on("session.closed.*")(following.handle)

    async def broken(*_: object) -> CommandReply:
        raise LookupError("a fault of ours")

    running = asyncio.create_task(following.client.run())
    await following.until(1)
    monkeypatch.setattr(following.client._subscriptions[0], "_ask", broken)
    await world.say(session)
    with pytest.raises(LookupError):
        async with asyncio.timeout(PATIENCE):
            await running
    await following.client.close()


async def test_a_run_that_is_cancelled_as_it_fails_leaves_no_error_to_nobody(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await world.session()
    following = Following(world, session=session)

    async def failing() -> None:
        tasks["run"].cancel()
        raise LookupError("a fault of ours")

    monkeypatch.setattr(following.client, "_nothing_left", failing)
    tasks = {"run": asyncio.create_task(following.client.run())}
    with capture_logs() as logs, pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(PATIENCE):
            await tasks["run"]
    # Had nobody taken it, asyncio would complain, and so this test fail.
    assert [(line["event"], line["error"]) for line in logs if "error" in line] == [(Action.ENDED_BADLY, "LookupError")]
    await following.client.close()
