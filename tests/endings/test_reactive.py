"""The ends of the expiry worker, the sync worker, the tracking worker, the backup worker and the ingress router."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from agentbus.contracts.clock import SystemClock
from agentbus.contracts.topology import Topology
from agentbus.storage.backup import open_backups
from agentbus.storage.memory import MemoryStore
from agentbus.storage.port import Store
from agentbus.workers.backup.worker import BackupConfig, BackupWorker
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.bus.port import Bus
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.delivery.telemetry import WorkerMetrics
from agentbus.workers.expiry.worker import ExpiryConfig, ExpiryWorker
from agentbus.workers.ingress.router import IngressRouter
from agentbus.workers.reactive.batches import BatchedEvents
from agentbus.workers.reactive.handler import Handler
from agentbus.workers.reactive.worker import Events
from agentbus.workers.sync.services import make_sync_services
from agentbus.workers.sync.worker import SUBSCRIPTION, SyncWorker
from agentbus.workers.tracking.catch_up import Tracker
from agentbus.workers.tracking.worker import SUBSCRIPTION as TRACKED
from agentbus.workers.tracking.worker import TOPICS, TrackingHandler, TrackingWorker
from tests.endings.cutting import cut_everywhere
from tests.endings.outages import Mode, Switch, nothing_left, quickly, switched_bus, switched_store

CONFIG = ExpiryConfig(interval=0.01, refresh=0.01, beat=0.05, ttl=1.0)
BEATS = 3 * CONFIG.beat


def expiry(bus: Bus, store: Store) -> Any:
    def listen(name: str, patterns: tuple[str, ...], handler: Handler) -> Events:
        return BatchedEvents(bus, name, patterns, handler)

    return ExpiryWorker(
        bus,
        store,
        listen,
        Inputs(bus),
        archive=None,
        callbacks=(),
        clock=SystemClock(),
        metrics=WorkerMetrics(),
        config=CONFIG,
    )


def sync(bus: Bus, store: Store) -> Any:
    services = make_sync_services(store, bus, Inputs(bus), clock=SystemClock(), claim_secret=None)
    events = BatchedEvents(bus, SUBSCRIPTION, ("session.#",), services.handler)
    return SyncWorker(
        store,
        events,
        services.tasks,
        clock=SystemClock(),
        topology=Topology(partitions=4),
        interval=0.01,
        beat=CONFIG.beat,
        ttl=1.0,
    )


def tracking(bus: Bus, store: Store) -> Any:
    tracker = Tracker(store)
    handler = TrackingHandler(tracker)
    return TrackingWorker(
        store,
        BatchedEvents(bus, TRACKED, TOPICS, handler),
        handler,
        tracker,
        clock=SystemClock(),
        topology=Topology(partitions=4),
        interval=0.01,
        beat=CONFIG.beat,
        ttl=1.0,
    )


def backup(_: Bus, store: Store) -> Any:
    config = BackupConfig(source="the tests", interval=0.01, beat=CONFIG.beat, ttl=1.0)
    return BackupWorker(
        store,
        open_backups(f"memory://{uuid4().hex}"),
        clock=SystemClock(),
        topology=Topology(partitions=4),
        metrics=WorkerMetrics(),
        config=config,
    )


def ingress(bus: Bus, _: Store) -> Any:
    return IngressRouter(bus)


Make = Callable[[Bus, Store], Any]
KINDS = pytest.mark.parametrize("kind", [expiry, sync, tracking, backup, ingress])


@dataclass
class Bench:
    worker: Any
    store: Switch
    bus: Switch


@asynccontextmanager
async def bench(kind: Make) -> AsyncIterator[Bench]:
    """Give a worker, not started, on a store and a bus that can be switched off; nothing may be left of it."""
    async with MemoryStore() as store, MemoryBus(Topology(partitions=4)) as bus:
        await bus.declare()
        switches = (Switch(), Switch())
        with nothing_left():
            yield Bench(kind(switched_bus(bus, switches[1]), switched_store(store, switches[0])), *switches)


@KINDS
@pytest.mark.parametrize("mode", [Mode.UP, Mode.DOWN, Mode.FROZEN])
@pytest.mark.parametrize("what", ["store", "bus"])
async def test_with_nothing_in_hand_it_ends_at_once_whatever_does_not_answer(kind: Make, what: str, mode: Mode) -> None:
    async with bench(kind) as one:
        await one.worker.start()
        switch: Switch = getattr(one, what)
        switch.mode = mode
        await asyncio.sleep(BEATS)  # so that heartbeat and watch hang
        async with quickly():
            await one.worker.close()
        await one.worker.close()


@KINDS
async def test_cancelled_at_any_await_a_start_leaves_nothing(kind: Make) -> None:
    async def then(one: Bench) -> None:
        await one.worker.close()

    await cut_everywhere(lambda _: bench(kind), lambda one: one.worker.start(), then, least=1)


@KINDS
@pytest.mark.parametrize("mode", [Mode.UP, Mode.FROZEN])
async def test_cancelled_at_any_await_a_close_leaves_nothing(kind: Make, mode: Mode) -> None:
    @asynccontextmanager
    async def make(_: int) -> AsyncIterator[Bench]:
        async with bench(kind) as one:
            await one.worker.start()
            one.store.mode = mode
            await asyncio.sleep(BEATS)
            yield one

    async def then(one: Bench) -> None:
        one.store.mode = Mode.UP
        await one.worker.close()

    await cut_everywhere(make, lambda one: one.worker.close(), then, least=1)
