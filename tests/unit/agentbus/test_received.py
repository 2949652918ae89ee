"""A reply to an event: where it goes, and that it is said once."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

import agentbus.workers.reactive.handler
from agentbus.client import AgentBus
from agentbus.contracts.base import MAX_TEXT_LENGTH
from agentbus.contracts.commands import AppendMessage, CommandReply
from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.errors import ConfigurationError, LimitExceeded
from agentbus.contracts.events import MessageAppended, ReplyRequested
from agentbus.contracts.messages import CommandContent, OutboundMessage, Role, TextContent
from agentbus.contracts.topology import Topology
from agentbus.received import ReceivedEvent, ReceivedMessage
from agentbus.storage.history import history_page
from agentbus.storage.memory import MemoryStore
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.session.worker import SessionWorker
from agentbus.writing import WrittenReply
from tests.harness.builders import a_conversation, appended
from tests.harness.conversations import address, message
from tests.harness.patience import PATIENCE


class World:
    """A client with a session worker behind it."""

    def __init__(self, bus: MemoryBus, store: MemoryStore) -> None:
        self.bus = bus
        self.store = store
        self.client = AgentBus(bus)

    async def replies(self, event: EventEnvelope) -> list[OutboundMessage]:
        head = await self.store.heads.get(event.data.session_id)
        assert head is not None
        items = (await history_page(self.store, head)).items
        return [
            OutboundMessage(address=one.message.address, content=one.message.content)
            for one in items
            if one.message.role is Role.ASSISTANT
        ]


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(
        agentbus.workers.reactive.handler,
        "FAILING",
        replace(agentbus.workers.reactive.handler.FAILING, longest_wait=0),
    )
    async with MemoryBus(Topology(partitions=2)) as bus, MemoryStore() as store:
        await bus.declare()
        worker = SessionWorker(bus, store)
        await worker.start()
        world = World(bus, store)
        yield world
        await world.client.close()
        await worker.close()


def said(text: str) -> OutboundMessage:
    return OutboundMessage(address=address(), content=TextContent(text=text))


async def test_a_reply_goes_to_where_the_message_came_from(world: World) -> None:
    handled: asyncio.Queue[ReceivedEvent] = asyncio.Queue()

    @world.client.on("session.message.*")
    async def answer(event: ReceivedEvent) -> None:
        await event.reply("I heard you.")
        handled.put_nowait(event)

    assert callable(answer)
    await world.client.start()
    await world.client.publish(message())
    async with asyncio.timeout(PATIENCE):
        event = await handled.get()
    assert await world.replies(event) == [said("I heard you.")]


async def test_a_handler_that_is_tried_again_answers_once_and_each_of_its_replies_counts(world: World) -> None:
    handled: asyncio.Queue[ReceivedEvent] = asyncio.Queue()
    calls = 0

    @world.client.on("session.message.*")
    async def answer(event: ReceivedEvent) -> None:
        nonlocal calls
        calls += 1
        await event.reply("first")
        await event.reply(said("second"))
        if calls < 3:
            raise LookupError("and now it fails")
        handled.put_nowait(event)

    assert callable(answer)
    await world.client.start()
    await world.client.publish(message())
    async with asyncio.timeout(PATIENCE):
        event = await handled.get()
    assert calls == 3
    assert await world.replies(event) == [said("first"), said("second")]


async def test_a_bot_gets_what_people_write_with_its_session_and_answers_it(world: World) -> None:
    handled: asyncio.Queue[ReceivedMessage] = asyncio.Queue()

    @world.client.on_message("telegram", "slack")
    async def answer(message: ReceivedMessage) -> None:
        session = await message.session(timeout=PATIENCE)
        before = await message.history(timeout=PATIENCE)
        await message.reply(f"{message.text}: {session.message_count} of {len(before.items)}")
        handled.put_nowait(message)

    assert callable(answer)
    await world.client.start()
    note = OutboundMessage(role=Role.SYSTEM, content=TextContent(text="a note"))
    await world.client.publish(message(1, "hello"))
    async with asyncio.timeout(PATIENCE):
        first = await handled.get()
        await world.client.send(AppendMessage(address=address(), message=note), timeout=PATIENCE)
        await world.client.publish(message(2, content=CommandContent(name="start", arguments="now")))
        second = await handled.get()
    assert (first.message.role, first.text, second.text) == (Role.USER, "hello", "/start now")
    assert await world.replies(second) == [said("hello: 1 of 1"), said("/start now: 4 of 4")]


async def test_a_bot_reacts_once_to_what_somebody_wrote_and_to_nothing_that_came_from_no_channel(world: World) -> None:
    handled: asyncio.Queue[ReceivedMessage] = asyncio.Queue()
    calls = 0

    @world.client.on_message()
    async def answer(message: ReceivedMessage) -> None:
        nonlocal calls
        calls += 1
        await message.react("👀")
        if calls < 2:
            raise LookupError("and now it fails")
        handled.put_nowait(message)

    assert callable(answer)
    await world.client.start()
    await world.client.publish(message())
    async with asyncio.timeout(PATIENCE):
        event = await handled.get()
    commits = await world.store.log.read(event.partitionkey, limit=10)
    asked = [one for commit in commits for one in commit.events if isinstance(one, ReplyRequested)]
    assert [(one.to, one.reacts_to, one.message) for one in asked] == [
        (address(), event.message.message_id, event.message.key)
    ]
    data = event.data
    assert isinstance(data, MessageAppended)
    nowhere = data.model_copy(update={"message": data.message.model_copy(update={"address": None})})
    with pytest.raises(RuntimeError, match="came from no channel"):
        await ReceivedMessage.by(world.client, event.model_copy(update={"data": nowhere})).react("👀")


async def test_a_reply_that_is_written_part_by_part_is_said_as_one_and_only_if_it_gets_to_its_end(world: World) -> None:
    handled: asyncio.Queue[ReceivedMessage] = asyncio.Queue()
    calls = 0

    @world.client.on_message()
    async def answer(message: ReceivedMessage) -> None:
        nonlocal calls
        calls += 1
        async with message.writing() as nothing:
            await nothing.write("  ")
        async with message.writing() as reply:
            for part in ("one ", "two ", "three"):
                await reply.write(part)
            if calls == 1:
                raise LookupError("the model went away")
        handled.put_nowait(message)

    assert callable(answer)
    await world.client.start()
    await world.client.publish(message())
    async with asyncio.timeout(PATIENCE):
        event = await handled.get()
    assert calls == 2
    assert await world.replies(event) == [said("one two three")]


async def test_a_written_reply_is_no_longer_than_a_message_may_be() -> None:
    written = WrittenReply[CommandReply]()
    await written.write("x" * MAX_TEXT_LENGTH)
    with pytest.raises(LimitExceeded):
        await written.write("x")
    assert len(written.text) == MAX_TEXT_LENGTH


@pytest.mark.parametrize("platform", ["Telegram", "a.b", ""])
async def test_no_message_comes_from_what_is_no_platform(world: World, platform: str) -> None:
    with pytest.raises(ConfigurationError):
        world.client.on_message(platform)


async def test_an_event_that_came_by_no_client_has_nobody_to_reply_through() -> None:
    announced = EventEnvelope.of(appended(a_conversation("ada"), 1, "m1"))
    event = ReceivedEvent.model_validate(announced.model_dump())
    with pytest.raises(RuntimeError, match="nobody to reply through"):
        await event.reply("?")
