"""What the settings name, opened: the parts that workers and commands are made of."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote

from agentbus.contracts.clock import Clock, SystemClock
from agentbus.contracts.errors import ConfigurationError
from agentbus.contracts.operators import Operator
from agentbus.contracts.topology import Topology
from agentbus.contracts.urls import masked
from agentbus.storage.factory import open_store
from agentbus.storage.port import Store
from agentbus.workers.bus.factory import open_bus
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.bus.port import Bus
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.delivery.telemetry import WorkerMetrics
from agentbus.workers.installation.joining import check_installation, check_whole, join_installation
from agentbus.workers.notify import NotificationCallback

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from agentbus.settings import Settings
    from agentbus.storage.archive import ArchiveStore
    from agentbus.storage.backup import BackupPlace


def make_bus(settings: "Settings", topology: Topology | None = None) -> Bus:
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


def make_store(settings: "Settings", url: str | None = None) -> Store:
    """Return the store that the settings name, or the one at `url`, not connected yet. Raises ConfigurationError."""
    from agentbus.storage.encryption import encrypting  # noqa: PLC0415 - for who opens a store

    encryption, opened = settings.encryption, partial(make_store_as_kept, settings)
    store = opened(url or settings.store.store_url)
    return encrypting(store, encryption.encryption_keys, encryption.encryption_key_store, opened)


def make_store_as_kept(settings: "Settings", url: str) -> Store:
    """Return the store at `url` as `make_store` does, but what is encrypted in it stays so: for copying all of it."""
    store = settings.store
    return open_store(url, mongo_driver=store.mongo_driver, connect_timeout=store.store_timeout)


def place_of(url: str) -> str:
    """Return where a store is: its URL without user and password; a relative path made absolute.

    Of the options it has the prefix alone, by which several stores share a server.
    """
    scheme, separator, rest = url.partition("://")
    path = masked(url).partition("://")[2].rpartition("@")[2]
    match scheme.lower():
        case "sqlite":
            path = str(Path(path.removeprefix("/")).absolute())
        case "file":
            path = str(Path(unquote(path)).absolute())
    prefix = parse_qs(rest.partition("?")[2]).get("prefix")
    return f"{scheme.lower()}{separator}{path}{f'?prefix={prefix[-1]}' if prefix else ''}"


def make_archive(settings: "Settings", store: Store | None = None) -> "ArchiveStore | None":
    """Return the archive that the settings name, if they name one; encrypted with the keys of `store`, if it has some.

    Raises ConfigurationError.
    """
    from agentbus.storage.archive import open_archive  # noqa: PLC0415 - for who has one
    from agentbus.storage.encryption import keys_of  # noqa: PLC0415 - for who opens a store

    archive = settings.archive
    keys = keys_of(store) if store else None
    return open_archive(archive.archive_url, archive.archive_options, keys) if archive.archive_url else None


def need_archive(settings: "Settings", store: Store | None = None) -> "ArchiveStore":
    """Return the archive that the settings name, as `make_archive` does. Raises ConfigurationError for none."""
    if archive := make_archive(settings, store):
        return archive
    raise ConfigurationError("no archive is set: give its URL by AGENTBUS_ARCHIVE_URL, such as file:///folder")


def need_backups(settings: "Settings", store: Store | None = None) -> "BackupPlace":
    """Return the place of the backups that the settings name, for those of `store`, if one is given.

    What is encrypted in them is read and written with the store's keys. Raises ConfigurationError for no place.
    """
    from agentbus.storage.backup import open_backups  # noqa: PLC0415 - for who makes or reads backups
    from agentbus.storage.encryption import keys_of  # noqa: PLC0415 - as above

    backup = settings.backup
    if backup.backup_url is None:
        raise ConfigurationError(
            "no place for backups is set: give its URL by AGENTBUS_BACKUP_URL or --to, such as file:///folder; in "
            "Python, backup_dir"
        )
    keys = keys_of(store) if store else None
    return open_backups(backup.backup_url, backup.backup_options, signing=backup.backup_key, keys=keys)


def make_clock() -> Clock:
    """Return the clock that everything runs by."""
    return SystemClock()


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """An AgentBus at work: bus and store, connected, and what everything in this process shares."""

    settings: "Settings"
    bus: Bus
    store: Store
    clock: Clock
    metrics: WorkerMetrics = field(default_factory=WorkerMetrics)
    callbacks: Sequence[NotificationCallback] = ()
    """Who is told what expiry rules do, besides those that the settings name."""
    by: Operator | None = None
    """Who has done what is done with it, if that is somebody: it is in the audit trails."""

    @property
    def alone(self) -> bool:
        """Whether the bus is this process's own: nobody else takes from it or gives it anything."""
        return isinstance(self.bus, MemoryBus)

    @property
    def commands(self) -> Inputs:
        """What sends commands to the sessions' owners."""
        return Inputs(self.bus, scope=self.settings.session.scope, by=self.by)

    @property
    def archive(self) -> "ArchiveStore | None":
        """The archive, if the settings name one. Raises ConfigurationError."""
        return make_archive(self.settings, self.store)


@asynccontextmanager
async def archived(settings: "Settings") -> "AsyncIterator[ArchiveStore]":
    """Open the settings' archive, and their store only for the keys that it is encrypted with. For commands.

    Raises ConfigurationError, also if the settings name no archive.
    """
    archive = need_archive(settings)
    if settings.encryption.encryption_keys is None:
        yield archive
        return
    async with make_store(settings) as store:
        yield need_archive(settings, store)


@asynccontextmanager
async def sending(settings: "Settings") -> AsyncIterator[Bus]:
    """Connect to the settings' broker, for commands that send inputs. Raises InstallationMismatch as `connected`."""
    async with make_bus(settings) as bus:
        await bus.check()
        yield bus


@asynccontextmanager
async def stored(settings: "Settings") -> AsyncIterator[App]:
    """Connect to the settings' store alone, for what asks nothing of a session's owner: the bus stays closed."""
    async with make_store(settings) as store:
        yield App(settings=settings, bus=make_bus(settings), store=store, clock=make_clock())


@asynccontextmanager
async def connected(settings: "Settings") -> AsyncIterator[App]:
    """Connect to the settings' broker and store, for commands.

    Raises InstallationMismatch if one of them belongs to an installation with other partitions or another scope,
    MigrationUnfinished for a store that is half a copy of another.
    """
    async with make_store(settings) as store, make_bus(settings) as bus:
        await check_whole(store)
        await check_installation(store, bus.topology)
        await bus.check()
        yield App(settings=settings, bus=bus, store=store, clock=make_clock())


@asynccontextmanager
async def installed(settings: "Settings", registry: "CollectorRegistry | None" = None) -> AsyncIterator[App]:
    """Connect as `connected` does, for workers: what is not there yet is made, and who is first decides which it is.

    Raises InstallationMismatch, TopologyMismatch.
    """
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(make_store(settings))
        bus = make_bus(settings)
        metrics = WorkerMetrics(registry)
        bus.on_reconnect = metrics.reconnections.inc
        bus.on_published = partial(_count_published, metrics, bus.topology)
        await stack.enter_async_context(bus)
        clock = make_clock()
        await join_installation(store, bus, clock)
        yield App(settings=settings, bus=bus, store=store, clock=clock, metrics=metrics)


def _count_published(
    metrics: WorkerMetrics, topology: Topology, exchange: str, count: int, seconds: float | None
) -> None:
    """Count what was confirmed, under names that don't depend on the installation's prefix."""
    known = {topology.inbound: "inbound", topology.events: "events", topology.parked: "parked"}
    if where := known.get(exchange):
        metrics.published(where, count, seconds)
