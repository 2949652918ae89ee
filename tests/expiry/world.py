"""A whole AgentBus in this process with an expiry worker, by a clock that the test moves."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from agentbus.client import AgentBus
from agentbus.contracts.address import Address, Platform
from agentbus.contracts.clock import ManualClock
from agentbus.contracts.commands import AnyCommand, CommandReply, CreateSession
from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.events import AnyEvent, ExpiryStepTaken, MessageAppended
from agentbus.contracts.expiry import CleanupAction, Conditions, ExpiryRule, ExpiryStrategy, Step
from agentbus.contracts.ids import SessionId
from agentbus.contracts.messages import InboundMessage, TextContent, message_key_for
from agentbus.contracts.records import RecordKind
from agentbus.contracts.session import SessionState
from agentbus.contracts.topology import Topology
from agentbus.storage.archive import ArchiveStore, open_archive
from agentbus.storage.memory import MemoryStore
from agentbus.storage.port import Store
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.bus.port import Bus
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.delivery.telemetry import WorkerMetrics
from agentbus.workers.expiry.worker import ExpiryConfig, ExpiryWorker
from agentbus.workers.notify import NotificationCallback
from agentbus.workers.reactive.batches import BatchedEvents
from agentbus.workers.reactive.handler import Handler
from agentbus.workers.reactive.worker import Events
from agentbus.workers.session.config import SessionWorkerConfig
from agentbus.workers.session.worker import SessionWorker
from tests.harness.patience import PATIENCE

QUICK = ExpiryConfig(interval=0.005, refresh=0.01, beat=0.02, ttl=0.2)


def a_rule(
    name: str = "rule",
    *actions: CleanupAction | Step,
    idle_for: float | None = 60.0,
    max_age: float | None = None,
    max_messages: int | None = None,
    warn_before: float | None = None,
    priority: int = 0,
) -> ExpiryRule:
    """Return a rule by one condition: silence for a minute, unless another one is given."""
    conditions = Conditions(max_age=max_age, max_messages=max_messages)
    strategy = ExpiryStrategy.TIME if max_age else ExpiryStrategy.USAGE
    if not max_age and not max_messages:
        conditions, strategy = Conditions(idle_for=idle_for), ExpiryStrategy.ACTIVITY
    steps = [one if isinstance(one, Step) else Step(action=one) for one in actions or (CleanupAction.EXPIRE,)]
    return ExpiryRule(
        rule_id=name,
        name=name,
        strategy=strategy,
        conditions=conditions,
        actions=tuple(steps),
        warn_before=warn_before,
        priority=priority,
    )


@dataclass
class World:
    """What a test works with."""

    bus: Bus
    store: Store
    clock: ManualClock
    client: AgentBus
    events: list[AnyEvent] = field(default_factory=list)
    archive: ArchiveStore | None = None

    def expiry(
        self, *, callbacks: Sequence[NotificationCallback] = (), metrics: WorkerMetrics | None = None, **given: Any
    ) -> ExpiryWorker:
        """Return an instance of the expiry worker, not started."""
        return ExpiryWorker(
            given.get("bus", self.bus),
            given.get("store", self.store),
            self.listen,
            Inputs(given.get("bus", self.bus)),
            archive=self.archive,
            callbacks=callbacks,
            clock=self.clock,
            metrics=metrics or WorkerMetrics(),
            config=QUICK,
        )

    @asynccontextmanager
    async def expiring(self, *rules: ExpiryRule, **given: Any) -> AsyncIterator[ExpiryWorker]:
        """Run an instance that goes by `rules` besides those that are there."""
        worker = self.expiry(**given)
        for rule in rules:
            await worker.rules.add(rule)
        await worker.start()
        try:
            yield worker
        finally:
            await worker.close()

    def listen(self, name: str, patterns: tuple[str, ...], handler: Handler) -> Events:
        return BatchedEvents(self.bus, name, patterns, handler)

    async def session(self, user: str = "ada", platform: Platform = Platform.WEB) -> SessionId:
        """Begin a session and return its id."""
        where = Address(platform=platform, chat=f"chat-{user}", user=user)
        reply = await self.client.send(CreateSession(address=where))
        assert reply.session_id is not None
        return reply.session_id

    async def say(self, text: str, user: str = "ada", platform: Platform = Platform.WEB) -> None:
        """Say something in the user's session; on return it was announced."""
        where = Address(platform=platform, chat=f"chat-{user}", user=user)
        await self.client.publish(
            InboundMessage(address=where, message_id=text, sent_at=self.clock.now(), content=TextContent(text=text))
        )

        async def is_said() -> bool:
            said = (one.message for one in self.events if isinstance(one, MessageAppended))
            return any(one.key == message_key_for(where, text) for one in said)

        await self.until(is_said)  # by the time that it is now: a deadline may be there before

    async def send(self, command: AnyCommand) -> CommandReply:
        return await self.client.send(command)

    async def head(self, session: SessionId) -> SessionState:
        head = await self.store.heads.get(session)
        assert head is not None
        return head

    async def archived(self, session: SessionId) -> int:
        """Return how many files the archive has of a session."""
        assert self.archive is not None
        return len(await self.archive.entries_of(session))

    async def until(self, holds: Any) -> None:
        """Wait until an async function is true."""
        async with asyncio.timeout(PATIENCE):
            while not await holds():
                await asyncio.sleep(0.005)

    async def scheduled(self, *sessions: SessionId) -> None:
        """Wait until these sessions have deadlines."""
        for session in sessions:
            await self.until(lambda one=session: self.store.records.get(RecordKind.DEADLINE, one))

    async def until_steps(self, count: int) -> None:
        """Wait until so many steps were announced."""

        async def announced() -> bool:
            return len(self.steps()) >= count

        await self.until(announced)

    def advance(self, seconds: float) -> None:
        self.clock.advance(timedelta(seconds=seconds))

    def steps(self, session: SessionId | None = None) -> list[tuple[str, int, CleanupAction]]:
        """Return the steps that were announced, in their order and once each."""
        taken = {one.event_id: one for one in self.events if isinstance(one, ExpiryStepTaken)}
        return [
            (one.rule_id, one.step, one.action)
            for one in taken.values()
            if session is None or (one.earlier or one.session_id) == session
        ]


@asynccontextmanager
async def a_world(
    *, store: Store | None = None, bus: Bus | None = None, archive: str | None = None, partitions: int = 4
) -> AsyncIterator[World]:
    """Run a session worker on a store and a bus in memory, unless others are given."""
    clock = ManualClock()
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(store or MemoryStore())
        bus = await stack.enter_async_context(bus or MemoryBus(Topology(partitions=partitions)))
        await bus.declare()
        worker = SessionWorker(bus, store, config=SessionWorkerConfig(embedded=True), clock=clock)
        await worker.start()
        stack.push_async_callback(worker.close)
        client = AgentBus(bus)
        world = World(bus, store, clock, client, archive=open_archive(archive) if archive else None)

        async def note(event: EventEnvelope) -> None:
            world.events.append(event.data)

        client.on("session.#")(note)
        await client.start()
        stack.push_async_callback(client.close)
        yield world
