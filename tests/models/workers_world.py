"""Where the two workers are played: a session worker, and beside it sync and expiry workers without their loops."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, Final
from unittest.mock import patch
from uuid import uuid4

import fsspec  # type: ignore[import-untyped]  # it ships no types

from agentbus.client import AgentBus
from agentbus.contracts.clock import ManualClock
from agentbus.contracts.commands import AnyCommand, CommandReply
from agentbus.contracts.envelope import EventEnvelope, Input
from agentbus.contracts.errors import Refused
from agentbus.contracts.events import AnyEvent
from agentbus.contracts.history import SessionFilter
from agentbus.contracts.ids import InputId, Partition
from agentbus.contracts.records import RecordKind
from agentbus.contracts.session import SessionState
from agentbus.contracts.topology import Topology
from agentbus.storage.archive import ArchiveStore, open_archive
from agentbus.storage.factory import open_store
from agentbus.storage.port import Store
from agentbus.storage.reading import iter_sessions
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.concurrency import ended
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.delivery.telemetry import WorkerMetrics
from agentbus.workers.expiry.rules import ExpiryRules, RuleBook
from agentbus.workers.expiry.statistics import StatisticsRecorder
from agentbus.workers.expiry.watch.commands import ExpiryCommands
from agentbus.workers.expiry.watch.deadlines import Deadlines
from agentbus.workers.expiry.watch.due import DueWatch
from agentbus.workers.expiry.watch.handler import TOPICS as FOR_EXPIRY
from agentbus.workers.expiry.watch.handler import ExpiryHandler
from agentbus.workers.expiry.watch.pace import Pace
from agentbus.workers.expiry.watch.rescan import Rescan
from agentbus.workers.reactive.time_loop import Share
from agentbus.workers.session.config import SessionWorkerConfig
from agentbus.workers.session.worker import SessionWorker
from agentbus.workers.sync import policies
from agentbus.workers.sync.handler import TOPICS as FOR_SYNC
from agentbus.workers.sync.services import SyncServices, make_sync_services

PARTITIONS: Final = 2
INSTANCES: Final = 2
"""Expiry workers; the first of them leads."""
SETTLING: Final = 2.0
REFRESH: Final = timedelta(seconds=0.5)
"""Each expiry worker has looked at the rules within this time, as one that runs does."""
START: Final = datetime.fromisoformat("2026-01-01T00:00:00+00:00")

_METRICS: Final = WorkerMetrics()
"""Of all worlds: nobody reads them."""


class Stuck(Exception):
    """Something does not come to an end."""


class _Whole(Share):
    """All partitions, of a worker that is not among others."""

    def __init__(self, *, leads: bool) -> None:
        self._leads = leads

    @property
    def groups(self) -> None:
        return None

    @property
    def leads(self) -> bool:
        return self._leads


class Expiring:
    """An expiry worker without its loops: each turn is taken when the play says so."""

    def __init__(self, world: "World", *, leads: bool) -> None:
        store, clock = world.store, world.clock
        self.leads = leads
        self.rules = ExpiryRules(store, clock)
        self.book = RuleBook(self.rules)
        self.figures = StatisticsRecorder(store, clock)
        share = _Whole(leads=leads)
        deadlines = Deadlines(store, world.bus.topology, self.book, clock)
        self.handler = ExpiryHandler(self.book, deadlines, self.figures)
        acting = ExpiryCommands(store, world.commands, world.archive, metrics=_METRICS, clock=clock)
        self.due = DueWatch(
            store,
            share,
            self.book,
            deadlines,
            acting=acting,
            pace=Pace(store, world.bus.topology.partitions, clock=clock, metrics=_METRICS),
            figures=self.figures,
            clock=clock,
            metrics=_METRICS,
        )
        self.rescan = Rescan(store, share, self.book, deadlines, clock=clock, settling=SETTLING)

    async def start(self) -> None:
        await self.book.refresh()
        await self.figures.start()

    async def kill(self) -> None:
        """End it wherever it is: nothing is finished."""
        await ended(list(self.due._moving.values()))


@dataclass
class World:
    """What the play works with."""

    bus: MemoryBus
    store: Store
    clock: ManualClock
    worker: SessionWorker
    client: AgentBus
    archive: ArchiveStore
    commands: Inputs
    patient: bool
    """Whether the store answers from another thread."""
    sync: SyncServices = field(init=False)
    expiring: list[Expiring] = field(default_factory=list)
    for_sync: list[EventEnvelope] = field(default_factory=list)
    """Announced, and not handled by the sync worker yet."""
    for_expiry: list[EventEnvelope] = field(default_factory=list)
    happened: dict[str, AnyEvent] = field(default_factory=dict)
    kills: int = 0
    refreshed_at: datetime = START
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    async def start(self) -> None:
        """Start the sync worker and the expiry workers."""
        self.sync = make_sync_services(self.store, self.bus, self.commands, clock=self.clock)
        for index in range(INSTANCES):
            self.expiring.append(Expiring(self, leads=index == 0))
            await self.expiring[index].start()

    async def close(self) -> None:
        for one in self.expiring:
            await one.kill()

    async def take(self, event: EventEnvelope) -> None:
        self.happened[event.id] = event.data
        topic = event.data.routing_key.split(".")[1]
        if any(pattern.split(".")[1] == topic for pattern in FOR_SYNC):
            self.for_sync.append(event)
        if any(pattern.split(".")[1] == topic for pattern in FOR_EXPIRY):
            self.for_expiry.append(event)

    async def ask(self, command: AnyCommand, command_id: str | None = None) -> CommandReply | None:
        """Give a command; return None if it is refused."""
        with suppress(Refused):
            return await self.commands.ask(Input(InputId(command_id or f"play {next(self.numbers)}"), command))
        return None

    async def advance(self, step: timedelta) -> None:
        """Let time pass; the workers that run look at the rules meanwhile."""
        if step > REFRESH or self.clock.now() + step - self.refreshed_at > REFRESH:
            await self.refresh()
        self.clock.advance(step)

    async def refresh(self) -> None:
        for one in self.expiring:
            await one.book.refresh()
        self.refreshed_at = self.clock.now()

    async def killed(self, call: Coroutine[Any, Any, object], after: int) -> bool:
        """Make a call, and kill whoever makes it after so many turns of the loop; return whether it was."""
        task = asyncio.create_task(call)
        for _ in range(after):
            if task.done():
                break
            await asyncio.sleep(0)
        if task.done():
            await task
            return False
        self.kills += 1
        await ended([task])
        return True

    async def restart_sync(self) -> None:
        """Begin anew with what is in the store alone."""
        self.sync = make_sync_services(self.store, self.bus, self.commands, clock=self.clock)

    async def restart_expiry(self, index: int) -> None:
        await self.expiring[index].kill()
        self.expiring[index] = Expiring(self, leads=index == 0)
        await self.expiring[index].start()

    async def quiet(self) -> None:
        """Wait until the session worker and the moves have nothing to do, and all that was announced has come."""
        still, pause, needed = 0, (0.001 if self.patient else 0), 4 if self.patient else 10
        async with asyncio.timeout(60):
            while still < needed:
                queues = [self.bus.topology.partition_queue(Partition(one)) for one in range(PARTITIONS)]
                waiting = any([(await self.bus.depth(queue)).ready for queue in queues])
                moving = any(one.due._moving for one in self.expiring)
                busy = waiting or moving or len(self.worker._lanes) or self.worker._rounds
                still = 0 if busy else still + 1
                await asyncio.sleep(pause)

    async def settle(self, chance: Random) -> None:
        """Let the workers do all that is to be done now: events in any order, then what is due. Raises Stuck."""
        for _ in range(400):
            await self.quiet()
            done = await self._events(chance)
            await self.refresh()
            for one in self.expiring:
                while await one.rescan.turn():
                    await self.quiet()
                while await one.due.turn():
                    await self.quiet()
            done |= await self._sync_due()
            await self.quiet()
            if not (done or self.for_sync or self.for_expiry):
                return
        raise Stuck(f"it goes on for ever: {[event.id for event in self.for_sync[:5]]}")

    async def _events(self, chance: Random) -> bool:
        found = bool(self.for_sync or self.for_expiry)
        chance.shuffle(self.for_sync)
        chance.shuffle(self.for_expiry)
        while self.for_expiry:
            await chance.choice(self.expiring).handler.handle(self.for_expiry.pop())
        while self.for_sync:
            await self.sync.handler.handle(self.for_sync.pop())
        return found

    async def _sync_due(self) -> bool:
        due = await self.store.records.due(RecordKind.SYNC_TASK, self.clock.now(), limit=100)
        for task in due:
            await self.sync.tasks.carry_out(task)
        return bool(due)

    async def heads(self) -> list[SessionState]:
        return [one async for one in iter_sessions(self.store, SessionFilter())]


@asynccontextmanager
async def a_world(folder: Path, *, sqlite: bool) -> AsyncIterator[World]:
    """Run a session worker on a new store, with sync and expiry workers beside it."""
    clock = ManualClock(START)
    with _going_by(clock):
        async with AsyncExitStack() as stack:
            store = await stack.enter_async_context(
                open_store(f"sqlite:///{folder}/model.db" if sqlite else "memory://")
            )
            bus = await stack.enter_async_context(MemoryBus(Topology(partitions=PARTITIONS)))
            await bus.declare()
            client = AgentBus(bus)
            worker = SessionWorker(bus, store, config=SessionWorkerConfig(prefetch=100), clock=clock)
            archive = open_archive(stack.enter_context(_an_archive(folder, sqlite=sqlite)))
            world = World(bus, store, clock, worker, client, archive, Inputs(bus), patient=sqlite)
            client.on("session.#")(world.take)
            await client.start()
            stack.push_async_callback(client.close)
            await worker.start()
            stack.push_async_callback(worker.close)
            stack.push_async_callback(world.close)
            await world.start()
            yield world


@contextmanager
def _an_archive(folder: Path, *, sqlite: bool) -> Iterator[str]:
    """Give the URL of an empty archive: in memory unless the store is on the disk as well."""
    if sqlite:
        yield f"file://{folder}/archive"
        return
    name = f"/workers-model-{uuid4().hex}"
    yield f"memory:/{name}"
    files = fsspec.filesystem("memory")
    if files.exists(name):
        files.rm(name, recursive=True)


@contextmanager
def _going_by(clock: ManualClock) -> Iterator[None]:
    """Have policies that were read grow old by the clock of the play."""
    with patch.object(policies, "monotonic", lambda: 1.0 + (clock.now() - START).total_seconds()):
        yield
