"""What every kind of worker says of its health, from before its start to after its end."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from agentbus.composition.app import App, make_clock
from agentbus.composition.workers import WORKERS
from agentbus.contracts.members import WorkerKind
from agentbus.settings import load_settings
from agentbus.storage.memory import MemoryStore
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.ingress.router import IngressRouter
from agentbus.workers.reactive.worker import ReactiveWorker
from tests.harness.patience import PATIENCE

CHANNELS = {"webhook": {"shop": {"secret": "whsec_c2VjcmV0c2VjcmV0"}}}


@pytest.fixture
async def app() -> AsyncIterator[App]:
    settings = load_settings(
        amqp_url="memory://",
        store_url="memory://",
        backup_url="memory://backups",
        partitions=4,
        channels=CHANNELS,
        gateway_port=0,
        api_port=0,
    )
    async with MemoryStore() as store, MemoryBus(settings.topology) as bus:
        await bus.declare()
        yield App(settings=settings, bus=bus, store=store, clock=make_clock())


@pytest.mark.parametrize("kind", WorkerKind)
async def test_it_is_well_from_its_start_to_its_end(app: App, kind: WorkerKind) -> None:
    worker = WORKERS[kind].make(app)
    assert not worker.health().live
    await worker.start()
    waiting = asyncio.create_task(worker.wait())
    async with asyncio.timeout(PATIENCE):
        while not worker.health().ready:
            await asyncio.sleep(0.01)
        assert not waiting.done()
        await worker.close()
        await waiting
    assert not worker.health().live
    await worker.close()


@pytest.mark.parametrize(
    "kind", [WorkerKind.SYNC, WorkerKind.EXPIRY, WorkerKind.TRACKING, WorkerKind.BACKUP, WorkerKind.OUTBOUND]
)
async def test_one_whose_turns_have_ended_is_not_live(app: App, kind: WorkerKind) -> None:
    worker = WORKERS[kind].make(app)
    assert isinstance(worker, ReactiveWorker)
    await worker.start()
    assert worker.health().ready
    task = worker._loops[-1]._task
    assert task is not None
    task.cancel()
    await asyncio.wait([task])
    assert not worker.health().live
    await worker.close()


async def test_a_router_whose_consumer_is_given_up_is_not_ready_and_without_its_pump_not_live(app: App) -> None:
    worker = WORKERS[WorkerKind.INGRESS].make(app)
    assert isinstance(worker, IngressRouter)
    await worker.start()
    await worker._consumer.close()
    assert (worker.health().live, worker.health().ready) == (True, False)
    await worker._pump.close()
    assert not worker.health().live
    await worker.close()
