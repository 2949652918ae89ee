"""The composition root: the one place where settings become a bus, a store and workers."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from agentbus.settings import Settings
from contracts.clock import Clock, SystemClock
from contracts.errors import ConfigurationError
from contracts.members import WorkerKind
from contracts.topology import Topology
from storage.archive import ArchiveStore, open_archive
from storage.factory import open_store
from storage.port import Store
from workers.bus.factory import open_bus
from workers.bus.memory import MemoryBus
from workers.bus.port import Bus
from workers.ingress.router import IngressRouter
from workers.installation.record import check_installation, join_installation
from workers.presence import Presence
from workers.session.config import SessionWorkerConfig
from workers.session.worker import SessionWorker
from workers.telemetry import WorkerMetrics


def make_bus(settings: Settings, topology: Topology | None = None) -> Bus:
    """Return the bus that the settings name, with their topology or another. Not connected yet.

    Raises ConfigurationError.
    """
    bus = settings.bus
    return open_bus(
        bus.amqp_url,
        topology or settings.topology,
        connect_timeout=bus.broker_timeout,
        publish_timeout=bus.publish_timeout,
        heartbeat=bus.heartbeat,
    )


def make_store(settings: Settings) -> Store:
    """Return the store that the settings name, not connected yet. Raises ConfigurationError."""
    store = settings.store
    return open_store(store.store_url, mongo_driver=store.mongo_driver, connect_timeout=store.store_timeout)


def find_archive(settings: Settings) -> ArchiveStore | None:
    """Return the archive that the settings name, if they name one. Raises ConfigurationError."""
    archive = settings.archive
    return open_archive(archive.archive_url, archive.archive_options) if archive.archive_url else None


def make_archive(settings: Settings) -> ArchiveStore:
    """Return the archive that the settings name. Raises ConfigurationError, also if they name none."""
    if archive := find_archive(settings):
        return archive
    raise ConfigurationError("no archive is set: give its URL by AGENTBUS_ARCHIVE_URL, such as file:///folder")


def make_session_worker(
    settings: Settings, bus: Bus, store: Store, metrics: WorkerMetrics, *, solo: bool = False
) -> SessionWorker:
    """Return a session worker on `bus` and `store`, not started yet; `solo` on a bus of this process alone."""
    session = settings.session
    config = SessionWorkerConfig(
        scope=session.scope,
        prefetch=session.prefetch,
        max_live=session.max_live,
        beat=session.worker_beat,
        ttl=session.worker_ttl,
        stall_limit=float(settings.bus.heartbeat),
        park_limit=session.park_limit,
        on_failure=session.on_failure,
        secret_keys=session.secret_keys,
        resets=session.reset_policies,
        command_users=() if solo else settings.bus.command_users,  # alone on its bus, there is nobody else
        solo=solo,
    )
    return SessionWorker(bus, store, config=config, clock=make_clock(), metrics=metrics)


def make_router(settings: Settings, bus: Bus, store: Store, metrics: WorkerMetrics) -> IngressRouter:
    """Return an ingress router that the others know of, not started yet."""
    presence = Presence(
        store,
        WorkerKind.INGRESS.group(bus.topology.prefix),
        clock=make_clock(),
        interval=settings.session.worker_beat,
        ttl=settings.session.worker_ttl,
    )
    return IngressRouter(bus, scope=settings.session.scope, metrics=metrics, presence=presence, trials_in=store)


def make_clock() -> Clock:
    """Return the clock that everything runs by."""
    return SystemClock()


@dataclass(frozen=True, slots=True)
class Embedded:
    """A whole AgentBus in this process."""

    bus: Bus
    store: Store
    worker: SessionWorker


@asynccontextmanager
async def embedded(settings: Settings) -> AsyncIterator[Embedded]:
    """Run a whole AgentBus in this process: in-process bus, the settings' store, router and session worker.

    What was published and not committed yet is gone when the process dies: the bus keeps it in memory alone.
    """
    metrics = WorkerMetrics()
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(make_store(settings))
        bus = await stack.enter_async_context(MemoryBus(settings.topology))
        await join_installation(store, bus, make_clock())
        worker = make_session_worker(settings, bus, store, metrics, solo=True)
        stack.push_async_callback(worker.close)
        await worker.start()
        router = IngressRouter(bus, scope=settings.session.scope, metrics=metrics)
        stack.push_async_callback(router.close)
        await router.start()
        worker.announce_owed()
        yield Embedded(bus, store, worker)


@asynccontextmanager
async def sending(settings: Settings) -> AsyncIterator[Bus]:
    """Connect to the settings' broker, for commands that send inputs. Raises InstallationMismatch as `backends`."""
    async with make_bus(settings) as bus:
        await bus.check()
        yield bus


@asynccontextmanager
async def backends(settings: Settings) -> AsyncIterator[tuple[Bus, Store]]:
    """Connect to the settings' broker and store, for commands that look and for workers.

    Raises InstallationMismatch if one of them belongs to an installation with other partitions or another scope.
    """
    async with make_store(settings) as store, make_bus(settings) as bus:
        await check_installation(store, bus.topology)
        await bus.check()
        yield bus, store


@asynccontextmanager
async def installed(settings: Settings) -> AsyncIterator[tuple[Bus, Store]]:
    """Connect as `backends` does, for a worker: what is not there yet is made, and who is first decides which it is.

    Raises InstallationMismatch, TopologyMismatch.
    """
    async with make_store(settings) as store, make_bus(settings) as bus:
        await join_installation(store, bus, make_clock())
        yield bus, store
