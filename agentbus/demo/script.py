"""What the demonstration does, step by step."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from agentbus.client import AgentBus, Receipt
from agentbus.composition.app import App
from agentbus.composition.running import embedded
from agentbus.contracts.commands import AppendMessage, ResetSession
from agentbus.contracts.envelope import EventEnvelope, InputEnvelope
from agentbus.contracts.history import SessionFilter
from agentbus.contracts.messages import OutboundMessage, TextContent
from agentbus.contracts.parked import ParkedInput
from agentbus.contracts.session import SessionState
from agentbus.demo.cast import OPENING, SPEAKERS, dialogue
from agentbus.demo.channels import one_bot
from agentbus.demo.person import Stage, one_person
from agentbus.demo.waiting import patience
from agentbus.operations.parked import replay_parked
from agentbus.operations.replay.journal import Journal
from agentbus.operations.replay.outcome import Outcome, check
from agentbus.settings import Settings
from agentbus.storage.reading import iter_parked, iter_sessions
from agentbus.workers.bus.port import Message

WINDOW: Final = 24


@dataclass(slots=True)
class Show:
    """The stage: what the demonstration tells, and how far it is."""

    say: Callable[[str], None]
    expect: Callable[[int], None]
    """Called with the number of messages that will be published."""
    progress: Callable[[int], None]
    """Called with the number of messages announced so far."""


@dataclass(slots=True)
class Result:
    """What the demonstration came to."""

    outcome: Outcome
    sessions: list[SessionState]
    published: int


@dataclass(slots=True)
class _Play:
    """One performance."""

    system: App
    client: AgentBus
    show: Show
    receipts: list[Receipt] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def on_message(self, event: EventEnvelope) -> None:
        """Count messages as they are announced; repeats have the same id."""
        self.seen.add(event.id)
        self.show.progress(len(self.seen))
        self.changed.set()

    async def until_announced(self, count: int) -> None:
        """Wait until `count` messages were announced. Raises DemoStuck if there comes none for a while.

        How long all of them take together says how busy the machine is, not whether anything is stuck.
        """
        while len(self.seen) < count:
            self.changed.clear()
            async with patience(f"of {count} messages, more than {len(self.seen)} are announced"):
                await self.changed.wait()


async def perform(settings: Settings, show: Show, *, rounds: int, seed: int = 1) -> Result:
    """Run the demonstration in an embedded AgentBus and check what came of it."""
    async with embedded(settings) as system:
        client = AgentBus(system.bus, scope=settings.session.scope)
        play = _Play(system, client, show)
        client.on("session.message.*")(play.on_message)
        await client.start()
        try:
            await _talk(play, rounds, seed)
            await _reply(play)
            await _reset(play)
            await _repeat(play)
            await _mistake(play, settings)
            stage = Stage(system, client, show.say, play.receipts)
            await one_bot(stage)
            await one_person(stage)
            with Journal(play.receipts) as journal:
                outcome = await check(system.store, journal)
        finally:
            await client.close()
        sessions = [session async for session in iter_sessions(system.store, SessionFilter())]
        return Result(outcome, sessions, len({receipt.input_id for receipt in play.receipts}))


async def _talk(play: _Play, rounds: int, seed: int) -> None:
    messages = list(dialogue(rounds, seed))
    play.show.expect(len(messages))
    chats = len({speaker.chat for speaker in SPEAKERS})
    play.show.say(f"{len(SPEAKERS)} conversations in {chats} chats on 5 platforms: {len(messages)} messages, in bursts")
    for start in range(0, len(messages), WINDOW):
        play.receipts += await play.client.publish_many(messages[start : start + WINDOW])
        await asyncio.sleep(0)
    await play.until_announced(len(messages))


async def _reply(play: _Play) -> None:
    speaker = SPEAKERS[0]
    content = TextContent(text="Your invoice is on its way.")
    reply = await play.client.send(AppendMessage(address=speaker.address, message=OutboundMessage(content=content)))
    play.show.say(f"the bot replies to {speaker.name} in session {reply.session_id}")


async def _reset(play: _Play) -> None:
    speaker = SPEAKERS[3]
    reply = await play.client.send(ResetSession(address=speaker.address, reason="a fresh start"))
    message = speaker.says("A new question!", "after-reset", OPENING)
    play.receipts.append(await play.client.publish(message))
    await play.until_announced(len(play.receipts))
    play.show.say(f"{speaker.name} is reset: the conversation goes on in session {reply.session_id}")


async def _repeat(play: _Play) -> None:
    speaker = SPEAKERS[3]
    again = speaker.says("A new question!", "after-reset", OPENING)
    receipt = await play.client.publish(again)
    marker = speaker.says("Are you there?", "after-repeat", OPENING)
    play.receipts += [receipt, await play.client.publish(marker)]
    await play.until_announced(len(play.receipts) - 1)
    play.show.say("a channel delivers a message a second time: it is known by its id and changes nothing")


async def _mistake(play: _Play, settings: Settings) -> None:
    """Publish a message whose platform is in capitals through the ingress; find it parked, mend it, replay it."""
    speaker = SPEAKERS[5]
    message = speaker.says("Can you hear me?", "misspelled", OPENING)
    right = InputEnvelope(id=message.input_id(), source="/demo", data=message).to_bytes()
    wrong = right.replace(b'"whatsapp"', b'"WhatsApp"')
    bus, store = play.system.bus, play.system.store
    await bus.publish(bus.topology.ingress, "", Message(body=wrong, message_id=message.input_id()))
    parked = await _find_parked(play)
    play.show.say(f"a bad message is parked, not lost: {parked.reason.partition(', ')[0]}, ...")
    await replay_parked(bus, store, parked.parked_id, scope=settings.session.scope, corrected=right)
    conversation = InputEnvelope.from_bytes(right).conversation(settings.session.scope)
    partition = bus.topology.partition_of(conversation)
    play.receipts.append(Receipt(message.input_id(), conversation, partition))
    await play.until_announced(len(play.receipts) - 1)
    play.show.say("an operator corrects it and replays it: now it is in its session")


async def _find_parked(play: _Play) -> ParkedInput:
    async with patience("the bad message is parked"):
        while True:
            async for parked in iter_parked(play.system.store):
                return parked
            await asyncio.sleep(0.01)
