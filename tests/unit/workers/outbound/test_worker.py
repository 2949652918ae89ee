"""The outbound worker at work: from what a handler says to the platform, and back into the session."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.commands import SendReply
from agentbus.contracts.errors import StoreDamaged
from agentbus.contracts.events import MessageAppended, ReplySent
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.messages import InboundMessage, OutboundMessage, TextContent
from agentbus.contracts.records import RecordKind
from agentbus.contracts.session import SessionState
from agentbus.received import ReceivedEvent, ReceivedMessage
from agentbus.workers.adapters.factory import OURS
from agentbus.workers.adapters.port import Capabilities, Feature, Guarantee, Outcome, Streaming
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.delivery.telemetry import WorkerMetrics
from agentbus.workers.outbound import conversations
from agentbus.workers.outbound.channels import Way, Ways
from agentbus.workers.outbound.outbox import Outbox
from agentbus.workers.outbound.worker import OutboundConfig, OutboundWorker
from examples import memory_bot
from tests.expiry.world import World, a_world
from tests.harness.outbound import FakeChannel, Fate
from tests.harness.patience import PATIENCE

WHERE = Address(platform=Platform.TELEGRAM, chat="lobby", user="ada")
QUICK = OutboundConfig(interval=0.005, beat=0.02, ttl=2.0)


CAN = Capabilities(receives=frozenset(), key_seconds=60.0)


def an_outbound_worker(
    world: World, channel: FakeChannel, metrics: WorkerMetrics | None = None, *, can: Capabilities = CAN
) -> OutboundWorker:
    can = replace(can, guarantee=channel.guarantee)
    return OutboundWorker(
        world.bus,
        world.store,
        world.listen,
        Inputs(world.bus),
        Ways(lambda _: {("telegram", "default"): Way(channel, can)}),
        clock=world.clock,
        metrics=metrics or WorkerMetrics(),
        config=QUICK,
    )


@asynccontextmanager
async def sending(world: World, channel: FakeChannel, *, can: Capabilities = CAN) -> AsyncIterator[OutboundWorker]:
    worker = an_outbound_worker(world, channel, can=can)
    await worker.start()
    try:
        yield worker
    finally:
        await worker.close()


def a_channel(guarantee: Guarantee = Guarantee.IDEMPOTENT) -> FakeChannel:
    return FakeChannel(guarantee, Fate(), Fate())


async def say(world: World, number: int) -> None:
    await world.client.publish(
        InboundMessage(
            address=WHERE, message_id=str(number), sent_at=world.clock.now(), content=TextContent(text=f"hi {number}")
        )
    )


async def told(world: World, count: int) -> list[ReplySent]:
    """Wait until so many replies were told to be sent."""

    async def there() -> bool:
        return len([one for one in world.events if isinstance(one, ReplySent)]) >= count

    await world.until(there)
    return [one for one in world.events if isinstance(one, ReplySent)]


async def test_what_a_handler_replies_gets_to_the_platform_once_and_the_session_knows() -> None:
    channel = a_channel()
    async with a_world() as world, sending(world, channel):

        @world.client.on("session.message.*", durable="bot")
        async def answer(event: ReceivedEvent) -> None:
            assert isinstance(event.data, MessageAppended)
            await event.reply(f"you said: {event.data.message.content.text}")  # type: ignore[union-attr]  # a text

        await world.client.start()
        await say(world, 1)
        await say(world, 2)
        sent = await told(world, 2)
    assert channel.texts() == ["you said: hi 1", "you said: hi 2"]
    assert [one.message_ids for one in sent] == [("message-1",), ("message-2",)]
    assert not await world.store.records.due(RecordKind.OUTBOX, world.clock.now(), limit=10)


async def test_what_a_handler_writes_is_seen_to_grow_and_is_one_message_in_the_end() -> None:
    channel = a_channel()
    can = replace(CAN, streaming=Streaming.EDITED, sends=frozenset({Feature.EDITS}), shown_every=0.0)
    async with a_world() as world, sending(world, channel, can=can):

        async def reads(text: str) -> None:
            async def there() -> bool:
                return channel.texts() == [text]

            await world.until(there)

        @world.client.on_message(durable="bot")
        async def answer(message: ReceivedMessage) -> None:
            async with message.writing() as reply:
                await reply.write("one")
                await reads("one …")
                await reply.write(" two")
                await reads("one two …")
                await reply.write(" three")

        await world.client.start()
        await say(world, 1)
        (sent,) = await told(world, 1)
        head = await world.store.heads.get(sent.session_id)
        assert head is not None
        async with world.client.reply(head) as proactive:
            await proactive.write("and more")
        await told(world, 2)
    assert channel.texts() == ["one two three", "and more"]
    assert sent.message_ids == ("message-1",)
    assert proactive.sent is not None
    assert proactive.sent.session_id == sent.session_id


async def test_the_bot_with_memory_answers_on_every_channel_unchanged() -> None:
    channels = {name: a_channel() for name in OURS}
    ways = Ways(lambda _: {(name, "default"): Way(one, CAN) for name, one in channels.items()})
    async with a_world() as world:
        worker = OutboundWorker(
            world.bus,
            world.store,
            world.listen,
            Inputs(world.bus),
            ways,
            clock=world.clock,
            metrics=WorkerMetrics(),
            config=QUICK,
        )
        await worker.start()
        memory_bot.talk(world.client)
        await world.client.start()
        for number, text in enumerate(("I like tea", "and cake"), start=1):
            for name in OURS:
                where = Address(platform=Platform(name), chat="lobby", user="ada")
                content = TextContent(text=text)
                sent_at = world.clock.now()
                await world.client.publish(
                    InboundMessage(address=where, message_id=str(number), sent_at=sent_at, content=content)
                )
            await told(world, number * len(OURS))
        await worker.close()
    for channel in channels.values():
        first, second = channel.texts()
        assert first == "You told me 1 things:\n1. I like tea"
        assert second == "You told me 2 things:\n1. I like tea\n2. and cake"


async def test_what_was_replied_is_changed_and_taken_back() -> None:
    channel = a_channel()
    async with a_world() as world, sending(world, channel):

        async def edited() -> bool:
            return channel.edits == [("message-1", "here it is")]

        async def deleted() -> bool:
            return channel.deleted == ["message-1"]

        @world.client.on_message(durable="bot")
        async def answer(message: ReceivedMessage) -> None:
            said = await message.reply("one moment")
            await told(world, 1)
            await said.edit("here it is")
            await world.until(edited)
            await said.delete()

        await world.client.start()
        await say(world, 1)
        await world.until(deleted)


async def test_a_handler_that_raises_while_it_writes_leaves_a_mark_until_it_answers() -> None:
    channel, calls = a_channel(), 0
    can = replace(CAN, streaming=Streaming.EDITED, sends=frozenset({Feature.EDITS}), shown_every=0.0)
    async with a_world() as world, sending(world, channel, can=can):

        async def reads(text: str) -> None:
            async def there() -> bool:
                return channel.texts() == [text]

            await world.until(there)

        @world.client.on_message(durable="bot")
        async def answer(message: ReceivedMessage) -> None:
            nonlocal calls
            calls += 1
            if calls == 2:
                await reads("one […]")
            async with message.writing() as reply:
                await reply.write("one")
                if calls == 1:
                    await reads("one …")
                    raise LookupError("the model went away")

        await world.client.start()
        await say(world, 1)
        await told(world, 1)
    assert channel.texts() == ["one"]


async def test_it_is_seen_that_a_handler_is_at_work_unless_it_says_otherwise() -> None:
    channel = a_channel()
    async with a_world() as world, sending(world, channel, can=replace(CAN, typing_seconds=5.0)):

        async def typed() -> bool:
            return channel.typed > 0

        @world.client.on_message(durable="bot")
        async def answer(message: ReceivedMessage) -> None:
            await world.until(typed)
            await message.reply("done")

        await world.client.start()
        await say(world, 1)
        await told(world, 1)


async def test_what_was_asked_for_before_there_was_an_outbound_worker_is_found() -> None:
    channel = a_channel()
    async with a_world() as world:
        await say(world, 1)
        await world.client.send(
            SendReply(address=WHERE, message=OutboundMessage(content=TextContent(text="at last"))), timeout=PATIENCE
        )
        async with sending(world, channel):
            await told(world, 1)
    assert channel.texts() == ["at last"]


async def test_one_damaged_conversation_does_not_keep_the_replies_of_others_from_being_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    channel = a_channel()
    whole = Outbox.state_of
    damaged: list[ConversationId] = []

    async def state_of(self: Outbox, conversation: ConversationId) -> SessionState:
        if not damaged:
            damaged.append(conversation)
        if conversation in damaged:
            raise StoreDamaged("a commit is not what was written")
        return await whole(self, conversation)

    monkeypatch.setattr(Outbox, "state_of", state_of)
    async with a_world() as world:
        for chat in ("one", "two"):
            where = Address(platform=Platform.TELEGRAM, chat=chat, user="ada")
            asked = InboundMessage(
                address=where, message_id=chat, sent_at=world.clock.now(), content=TextContent(text="hi")
            )
            await world.client.publish(asked)
            said = OutboundMessage(content=TextContent(text=f"to {chat}"))
            await world.client.send(SendReply(address=where, message=said), timeout=PATIENCE)
        async with sending(world, channel):
            (sent,) = await told(world, 1)
    assert len(damaged) == 1
    assert not sent.session_id.startswith(damaged[0])


async def test_a_worker_that_ends_finishes_what_it_is_sending_and_another_goes_on() -> None:
    begun, may = asyncio.Event(), asyncio.Event()

    class Slow(FakeChannel):
        async def send(self, *args: Any, **kwargs: Any) -> Outcome:
            begun.set()
            await may.wait()
            return await super().send(*args, **kwargs)

    channel = Slow(Guarantee.UNKNOWN, Fate(), Fate())
    async with a_world() as world:
        await say(world, 1)
        async with asyncio.timeout(PATIENCE):
            async with sending(world, channel) as worker:
                for text in ("one", "two"):
                    said = OutboundMessage(content=TextContent(text=text))
                    await world.client.send(SendReply(address=WHERE, message=said), timeout=PATIENCE)
                await begun.wait()
                closing = asyncio.create_task(worker.close())
                await asyncio.sleep(0)
                may.set()
                await closing
            async with sending(world, channel):
                await told(world, 2)
    assert channel.texts() == ["one", "two"]


async def test_a_worker_that_is_cancelled_in_the_middle_leaves_a_reply_in_doubt_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(conversations, "GRACE", 0.01)
    begun = asyncio.Event()

    class Stuck(FakeChannel):
        async def send(self, *_: object, **__: object) -> Outcome:  # never ends
            begun.set()
            await asyncio.Event().wait()
            raise AssertionError

    async with a_world() as world:
        await say(world, 1)
        worker = an_outbound_worker(world, Stuck(Guarantee.UNKNOWN, Fate(), Fate()))
        await worker.start()
        said = OutboundMessage(content=TextContent(text="one"))
        await world.client.send(SendReply(address=WHERE, message=said), timeout=PATIENCE)
        async with asyncio.timeout(PATIENCE):
            await begun.wait()
        closing = asyncio.create_task(worker.close())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        await worker.close()
        channel = a_channel(Guarantee.UNKNOWN)
        async with sending(world, channel):

            async def is_told() -> bool:
                return any(event.kind == "reply_unknown" for event in world.events)

            await world.until(is_told)
    assert channel.texts() == []
