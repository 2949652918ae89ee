"""Where the library is played: two managers on one store, by a clock that the play moves."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol
from unittest.mock import patch

from agentbus import client
from agentbus.composition import app, running
from agentbus.composition.workers import make_session_worker
from agentbus.contracts.clock import ManualClock
from agentbus.sessions import SessionSystem, register_provider
from agentbus.sessions import system as system_module
from agentbus.sessions.config import SessionSystemConfig, archive_url_of, make_config
from agentbus.sessions.running import Running
from agentbus.settings import load_settings
from agentbus.storage.archive import ArchiveStore, open_archive
from agentbus.storage.memory import MemoryStore
from agentbus.storage.port import Store
from agentbus.workers.session.worker import SessionWorker
from agentbus.workers.sync import policies
from agentbus.workers.worker import Worker
from tests.harness.patience import PATIENCE
from tests.models.library_model import Options
from tests.tour.world import Mode

PARTITIONS: Final = 2

_MEMORY: Final = "memory-of-two"
"""The name of a store in memory that both managers have."""


class Still(Running):
    """What runs in a system, but that none of its workers does anything besides the session worker."""

    async def _work(self, name: str, worker: Worker, up: Callable[[], None]) -> None:
        if isinstance(worker, SessionWorker):
            await super()._work(name, worker, up)
            return
        up()
        await asyncio.Event().wait()


class Quiet(SessionSystem):
    """A session system in which nothing happens by itself: what sync and expiry do is done by the calls alone."""

    async def _run(self) -> Running:
        return await Still.start(self.config, self._clock, self._callbacks)


@dataclass
class World:
    """Two managers, the clock of everything, and the store behind them."""

    managers: tuple[SessionSystem, SessionSystem]
    clock: ManualClock
    archive: ArchiveStore
    is_slow: bool
    """Whether what is kept is read from a disk or a server."""

    @property
    def store(self) -> Store:
        return self.managers[0]._store


class VirtualHosts(Protocol):
    """A broker."""

    def fresh_vhost(self) -> AbstractContextManager[str]:
        """Give the URL of an unused virtual host."""


class Databases(Protocol):
    """A MongoDB server."""

    def fresh_database(self) -> AbstractContextManager[str]:
        """Give the URL of an unused database."""


@dataclass(frozen=True)
class Services:
    """What modes need besides this process."""

    broker: VirtualHosts | None = None
    mongo: Databases | None = None


@asynccontextmanager
async def a_world(mode: Mode, folder: Path, services: Services, options: Options) -> AsyncIterator[World]:
    """Run two managers on a new store."""
    clock = ManualClock()
    with ExitStack() as stack:
        stack.enter_context(_going_by(clock))
        stack.enter_context(patch.dict(os.environ, {"AGENTBUS_RESET_POLICIES": '[{"words": ["/new"]}]'}))
        settings = _settings(mode, folder, services, stack)
        given = {
            "call_timeout": PATIENCE,
            "enable_cleanup": False,
            "enable_sync": True,
            "enable_expiry": True,
            "partitions": PARTITIONS,
            "archive_dir": str(folder / "archive"),
            "max_history_per_session": options.max_history,
            "idle_timeout": options.idle_timeout,
            "time_to_live": options.time_to_live,
            "max_sessions_per_user": options.max_sessions_per_user,
            "checkpoint_every": options.checkpoint_every,
            "on_limit": "close_oldest" if options.close_oldest else "refuse",
        }
        config = make_config(**settings, **given)
        async with AsyncExitStack() as running:
            if mode is Mode.DISTRIBUTED:
                await running.enter_async_context(_a_worker(config))
            one = await running.enter_async_context(Quiet(config))
            two = await running.enter_async_context(Quiet(config))
            archive = open_archive(archive_url_of(config) or "")
            yield World((one, two), clock, archive, is_slow=mode is not Mode.MEMORY)


def _settings(mode: Mode, folder: Path, services: Services, stack: ExitStack) -> dict[str, Any]:
    match mode:
        case Mode.MEMORY:
            store = MemoryStore()
            register_provider(_MEMORY, lambda _: store)
            return {"storage_type": _MEMORY}
        case Mode.FILES:
            return {"storage_type": "file", "storage_config": {"storage_dir": str(folder / "sessions")}}
        case Mode.SQLITE:
            return {"storage_type": "database", "storage_config": {"db_path": str(folder / "sessions.db")}}
    assert services.mongo is not None
    url = stack.enter_context(services.mongo.fresh_database())
    settings = {"storage_type": "mongodb", "storage_config": {"url": url}}
    if mode is Mode.MONGODB:
        return settings
    assert services.broker is not None
    return {**settings, "amqp_url": stack.enter_context(services.broker.fresh_vhost())}


@asynccontextmanager
async def _a_worker(config: SessionSystemConfig) -> AsyncIterator[None]:
    """Run a session worker by the same clock, as `agentbus worker session` would by its own."""
    settings = load_settings(
        amqp_url=config.amqp_url,
        store_url=config.storage_config["url"],
        partitions=PARTITIONS,
    )
    async with app.installed(settings) as opened:
        worker = make_session_worker(opened)
        try:
            await worker.start()
            yield
        finally:
            await worker.close()


@contextmanager
def _going_by(clock: ManualClock) -> Iterator[None]:
    """Make a clock the one of everything that is made meanwhile."""
    with ExitStack() as stack:
        for module in (app, running, client, system_module):
            stack.enter_context(patch.object(module, "make_clock", lambda: clock))
        stack.enter_context(patch.object(policies, "_FRESH", -1.0))  # one that was read is out of date at once
        yield
