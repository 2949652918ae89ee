"""A small AgentBus whose events reach the sync worker when, in what order and as often as a test says."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import count
from typing import Any

from agentbus.client import AgentBus
from agentbus.contracts.address import Address, Platform
from agentbus.contracts.clock import ManualClock
from agentbus.contracts.commands import AnyCommand, AppendMessage, ResetSession, SetData
from agentbus.contracts.envelope import EventEnvelope, Input
from agentbus.contracts.events import AnyEvent, ContextMerged, MessageAppended
from agentbus.contracts.ids import InputId, Partition, SessionId
from agentbus.contracts.messages import InboundMessage, OutboundMessage, TextContent
from agentbus.contracts.session import SessionState
from agentbus.contracts.sync import SyncPolicy
from agentbus.contracts.topology import Topology
from agentbus.storage.history import history_page
from agentbus.storage.memory import MemoryStore
from agentbus.storage.reading import iter_parked
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.session.config import SessionWorkerConfig
from agentbus.workers.session.worker import SessionWorker
from agentbus.workers.sync.policies import DEFAULT
from agentbus.workers.sync.services import SyncServices, make_sync_services
from tests.harness.builders import NOON
from tests.harness.patience import PATIENCE

PLATFORMS = (Platform.TELEGRAM, Platform.SLACK, Platform.WEB, Platform.DISCORD, Platform.LINE)


class Killed(Exception):
    """The sync worker was killed here."""


class Killing(Inputs):
    """Commands of a sync worker that is killed now and then, before or after they are given."""

    def __init__(self, bus: MemoryBus, chance: random.Random) -> None:
        super().__init__(bus)
        self._chance = chance
        self.kills = 0

    async def give(self, commands: Sequence[Input]) -> None:
        """Give the first few commands, and then perhaps be killed."""
        if self._chance.random() < 0.3:
            self.kills += 1
            await super().give(commands[: self._chance.randint(0, len(commands))])
            raise Killed
        await super().give(commands)


class World:
    """Session worker, store and bus in this process; the sync worker is called by hand."""

    def __init__(self, bus: MemoryBus, store: MemoryStore, clock: ManualClock, worker: SessionWorker) -> None:
        self.bus = bus
        self.store = store
        self.clock = clock
        self.worker = worker
        self.commands = Inputs(bus)
        self.client = AgentBus(bus)
        self.sync: SyncServices = make_sync_services(store, bus, self.commands, clock=clock)
        self.waiting: list[EventEnvelope] = []
        """Announced, and not handed to the sync worker yet."""
        self.handling: list[EventEnvelope] = []
        """Handed over, and not acknowledged yet."""
        self.happened: dict[str, AnyEvent] = {}
        self._numbers = count(1)

    async def take(self, event: EventEnvelope) -> None:
        self.waiting.append(event)
        self.happened[event.id] = event.data

    def restarted(self, commands: Inputs | None = None) -> None:
        """Forget what the sync worker has in memory, as after a kill."""
        self.sync = make_sync_services(self.store, self.bus, commands or self.commands, clock=self.clock)

    async def settle_with_kills(self, seed: int) -> int:
        """As `settle`, and the worker is killed now and then; return how often."""
        killing = Killing(self.bus, random.Random(seed))
        self.restarted(killing)
        while True:
            try:
                await self.settle(seed)
                break
            except Killed:
                again = {event.id: event for event in (*self.handling, *self.waiting)}
                self.waiting = list(again.values())
                self.restarted(killing)
        self.restarted()
        return killing.kills

    async def quiet(self) -> None:
        """Wait until the session worker has nothing to do, and all that it announced has arrived."""
        queues = [self.bus.topology.partition_queue(Partition(one)) for one in range(4)]
        still = 0
        async with asyncio.timeout(PATIENCE):
            while still < 10:
                busy = len(self.worker._lanes) or self.worker._rounds
                busy = busy or any([(await self.bus.depth(queue)).ready for queue in queues])
                still = 0 if busy else still + 1
                await asyncio.sleep(0)

    async def settle(self, seed: int | None = None) -> None:
        """Hand all events to the sync worker until nothing more happens: in order, or shuffled and repeated."""
        chance = random.Random(seed)
        await self.quiet()
        while self.waiting:
            if seed is None:
                now, self.waiting = self.waiting, []
            else:
                chance.shuffle(self.waiting)
                taken = chance.randint(1, len(self.waiting))
                now, self.waiting = self.waiting[:taken], self.waiting[taken:]
                now = [event for event in now for _ in range(chance.randint(1, 3))]
                chance.shuffle(now)
            self.handling = now
            while now:
                await self.sync.handler.handle(now[0])
                now.pop(0)
                if chance.random() < 0.5:
                    await self.quiet()
            await self.quiet()

    async def talk(
        self, platform: Platform = Platform.TELEGRAM, text: str = "hello", *, user: str = "ann"
    ) -> SessionId:
        """Let a user say something; return their session."""
        address = Address(platform=platform, chat=f"{platform}-chat", user=user)
        said = InboundMessage(
            address=address,
            message_id=str(next(self._numbers)),
            sent_at=self.clock.now(),
            content=TextContent(text=text),
        )
        receipt = await self.client.publish(said)
        await self.quiet()
        loaded = (await self.store.log.load([receipt.conversation_id]))[receipt.conversation_id]
        assert loaded.head is not None
        return loaded.head.session_id

    async def people(self, many: int, *, key: str = "ann") -> list[SessionId]:
        """Let a person begin on several channels, all of them linked; nothing is waiting then."""
        sessions = [await self.talk(platform) for platform in PLATFORMS[:many]]
        await self.sync.identities.link(key, sessions)
        await self.settle()
        return sessions

    async def ask(self, command: AnyCommand, command_id: str | None = None) -> None:
        await self.commands.ask(Input(InputId(command_id or f"by hand {next(self._numbers)}"), command))

    async def write(self, session: SessionId, _remove: Sequence[str] = (), **values: Any) -> None:
        self.clock.advance(timedelta(milliseconds=7))
        await self.ask(SetData(session_id=session, values=values, remove=tuple(_remove)))

    async def reset(self, session: SessionId) -> SessionId:
        """Reset a session; return the one that follows it."""
        await self.ask(ResetSession(session_id=session))
        conversation, _, generation = session.partition(".")
        return SessionId(f"{conversation}.{int(generation) + 1}")

    async def reply(self, session: SessionId, text: str) -> None:
        said = OutboundMessage(content=TextContent(text=text))
        await self.ask(AppendMessage(session_id=session, message=said))

    async def policy(self, key: str = DEFAULT, **fields: Any) -> SyncPolicy:
        chosen = SyncPolicy(**fields)
        await self.sync.policies.keep(key, chosen)
        return chosen

    async def head(self, session: SessionId) -> SessionState:
        found = await self.store.heads.get(session)
        assert found is not None
        return found

    async def data(self, *sessions: SessionId) -> list[dict[str, Any]]:
        return [(await self.head(session)).data for session in sessions]

    async def texts(self, session: SessionId) -> list[str]:
        page = await history_page(self.store, await self.head(session))
        contents = [shown.message.content for shown in page.items]
        return [content.text for content in contents if isinstance(content, TextContent)]

    def messages(self, session: SessionId) -> list[MessageAppended]:
        found = [one for one in self.happened.values() if isinstance(one, MessageAppended)]
        return sorted((one for one in found if one.session_id == session), key=lambda one: one.sequence)

    def counts(self) -> Counter[str]:
        """Return how many events of each kind were announced, each counted once."""
        return Counter(event.kind for event in self.happened.values())

    def merges(self) -> list[ContextMerged]:
        return [event for event in self.happened.values() if isinstance(event, ContextMerged)]


@asynccontextmanager
async def a_world() -> AsyncIterator[World]:
    """Start a world; at its end nothing may have been parked."""
    clock = ManualClock(NOON)
    async with MemoryBus(Topology(partitions=4)) as bus, MemoryStore() as store:
        await bus.declare()
        worker = SessionWorker(bus, store, config=SessionWorkerConfig(prefetch=100), clock=clock)
        world = World(bus, store, clock, worker)
        world.client.on("session.#")(world.take)
        await world.client.start()
        await worker.start()
        try:
            yield world
        finally:
            await worker.close()
            await world.client.close()
        assert [parked.reason async for parked in iter_parked(store)] == []
