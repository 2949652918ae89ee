"""Running workers: in a process of their own until a signal comes, or embedded in somebody's program."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final

from agentbus.composition.app import App, installed, make_clock, make_store
from agentbus.composition.collector import calm_collector
from agentbus.composition.signals import signalled
from agentbus.composition.tracing import exporting_traces, tracing
from agentbus.composition.workers import WORKERS, make_router, make_session_worker
from agentbus.contracts.extras import importing_extras
from agentbus.contracts.members import WorkerKind
from agentbus.contracts.telemetry import Action
from agentbus.contracts.urls import LOOPBACK
from agentbus.settings import Settings
from agentbus.storage.log_lines import Logger
from agentbus.storage.port import Store
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.concurrency import CLOSING, all_of, ended, side_by_side
from agentbus.workers.delivery.telemetry import process_registry
from agentbus.workers.installation.joining import join_installation, until_it_changes
from agentbus.workers.worker import HAND_BACK_SECONDS, Worker

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_CLOSING: Final = HAND_BACK_SECONDS + CLOSING
"""Seconds that all workers together may take to close."""


_log = Logger(__name__)


async def run_workers(
    settings: Settings, kinds: Collection[WorkerKind], *, http_port: int | None = None, http_host: str = LOOPBACK
) -> None:
    """Run a worker of each kind in this process until SIGTERM or SIGINT; they finish what they have begun then.

    With `http_port` (0: a free one) probes and metrics of all of them are served. Raises what one of them fails with,
    InstallationMismatch when the installation is another one now, ConfigurationError for a port that can't be had.
    """
    if http_port is not None:
        with importing_extras():
            import agentbus.composition.probes  # noqa: F401, PLC0415 - what is missing is said before anything is waited for
    registry = process_registry()
    async with exporting_traces(settings), installed(settings, registry) as app:
        workers = {kind: row.make(app) for kind, row in WORKERS.items() if kind in kinds}
        probes = None if http_port is None else _probing(workers, registry, http_port, http_host)
        await work(list(workers.values()), until_it_changes(app.store, app.bus.topology), probes)


@asynccontextmanager
async def _probing(
    workers: Mapping[WorkerKind, Worker], registry: "CollectorRegistry", port: int, host: str
) -> AsyncIterator[None]:
    from agentbus.composition.probes import probes_app, serving  # noqa: PLC0415 - it needs an extra

    probes = probes_app({kind: worker.health for kind, worker in workers.items()}, registry)
    async with serving(probes, port, host=host) as had:
        _log.info(Action.SERVING_HTTP, host=host, port=had)
        yield


async def work(
    workers: Sequence[Worker],
    until: Coroutine[None, None, None],
    probes: AbstractAsyncContextManager[None] | None = None,
    started: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Have workers at work until a signal comes, one of them ends or `until` is over, and close them.

    A signal that comes while they start ends them too. `probes` are entered before their start and left before their
    end. `started` is called once all are at work.
    """
    async with AsyncExitStack() as stack:
        stop = stack.enter_context(signalled())
        stack.callback(until.close)
        stack.push_async_callback(_close, workers)
        if probes is not None:
            await stack.enter_async_context(probes)
        await _either(stop.wait(), _start(workers))
        if not stop.is_set():
            calm_collector()
            if started is not None:
                await started()
            await _either(stop.wait(), until, *(worker.wait() for worker in workers))


@asynccontextmanager
async def embedded(settings: Settings, store: Store | None = None) -> AsyncIterator[App]:
    """Run a whole AgentBus in this process: in-process bus, router and session worker, on the settings' store.

    Or on `store`, which somebody else has opened.
    What was published and not committed yet is gone when the process dies: the bus keeps it in memory alone.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(tracing(settings))
        if store is None:
            store = await stack.enter_async_context(make_store(settings))
        bus = await stack.enter_async_context(MemoryBus(settings.topology))
        app = App(settings=settings, bus=bus, store=store, clock=make_clock())
        await join_installation(store, bus, app.clock)
        worker = make_session_worker(app)
        for one in (worker, make_router(app)):
            stack.push_async_callback(one.close)
            await one.start()
        # What others owe stays owed: here nobody syncs, who would have to hear of it.
        yield app


async def _start(workers: Sequence[Worker]) -> None:
    await side_by_side(worker.start() for worker in workers)


async def _close(workers: Sequence[Worker]) -> None:
    if len(workers) == 1:
        await workers[0].close()
    else:
        await all_of((worker.close() for worker in workers), within=_CLOSING)


async def _either(*waits: Coroutine[None, None, object]) -> None:
    """Wait until the first is over; raise what it raised."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await ended(task for task in tasks if not task.done())
    for task in done:
        task.result()
