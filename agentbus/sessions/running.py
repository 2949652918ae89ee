"""A session system at work: what it opens, and what runs in it."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final, Self

from agentbus.client import AgentBus
from agentbus.composition.app import App, make_bus
from agentbus.composition.supervision import Component, ComponentState
from agentbus.composition.workers import WORKERS
from agentbus.contracts.clock import Clock
from agentbus.contracts.members import WorkerKind
from agentbus.sessions.config import SessionSystemConfig, archive_url_of, backup_url_of
from agentbus.sessions.engine import Engine
from agentbus.sessions.features import FEATURES, PERSISTENCE, CallsT, Feature
from agentbus.sessions.providers import store_for, url_of
from agentbus.sessions.sections import Sections, sections_over
from agentbus.workers.installation.joining import check_installation, check_whole, join_installation
from agentbus.workers.notify import NotificationCallback
from agentbus.workers.worker import Worker

if TYPE_CHECKING:
    from agentbus.workers.session.worker import SessionWorker

_ALIVE: Final = 10.0
"""Seconds of silence after which a worker is taken for dead."""
_DRAIN_SECONDS: Final = 5.0
"""How long stopping waits for what is in hand."""


class Running:
    """Store and bus, the sections over them, and the components: workers and cleanup, supervised."""

    def __init__(self, app: App, sections: Sections, config: SessionSystemConfig, stack: AsyncExitStack) -> None:
        self.sections = sections
        self.components: list[Component] = []
        self.started_at = app.clock.now()
        self._app = app
        self._config = config
        self._stack = stack
        self._calls: dict[str, Any] = {}
        self._session_worker: SessionWorker | None = None
        self._at_work: dict[str, Worker] = {}
        self._subscribed = False

    @classmethod
    async def start(cls, config: SessionSystemConfig, clock: Clock, callbacks: Sequence[NotificationCallback]) -> Self:
        """Open store and bus, and start the components; `callbacks` are told what expiry rules do.

        Raises ConfigurationError, StoreUnavailable, BusError.
        """
        async with AsyncExitStack() as stack:
            stopped = asyncio.Event()
            stack.callback(stopped.set)
            app = await _opened(config, clock, callbacks, stack)
            scope = app.settings.session.scope
            client = AgentBus(app.bus, scope=scope)
            engine = Engine(client, app.store, scope, config.call_timeout, stopped=stopped.is_set)
            running = cls(app, sections_over(engine, config.manager_options, clock), config, stack)
            await running._begin()
            running.started_at = clock.now()
            running._stack = stack.pop_all()
        return running

    def calls(self, feature: Feature[CallsT]) -> CallsT | None:
        """Return what a feature's calls go to; None if it is not on."""
        found: CallsT | None = self._calls.get(feature.name)
        return found

    @property
    def works(self) -> bool:
        """Whether all components do."""
        return all(map(self.does_work, self.components))

    def does_work(self, component: Component) -> bool:
        """Whether a component runs, and the worker in it says that it works."""
        worker = self._at_work.get(component.name)
        return component.state is ComponentState.RUNNING and (worker is None or worker.health().live)

    async def check_bus(self) -> dict[str, Any]:
        """Ask the broker. Raises BusError, ConfigurationError if it is another installation's."""
        await self._app.bus.check()
        return {}

    async def session_workers(self) -> dict[str, Any]:
        """Return how many session workers are at work, of other processes: they carry out what is called here."""
        group = WorkerKind.SESSION.group(self._app.bus.topology.prefix)
        return {"at_work": len(await self._app.store.members.live(group, ttl=_ALIVE))}

    async def close(self) -> None:
        """Stop the components, finish what is in hand, close bus and store. Idempotent."""
        await self._stack.aclose()

    async def _begin(self) -> None:
        if self._config.amqp_url is None:
            await self._start_worker(WorkerKind.SESSION)
        for feature in FEATURES:
            if feature.is_on(self._config):
                self._calls[feature.name] = feature.make_calls(self._app, self.sections.engine)
                if feature.enabled(self._config) or feature.has_work(self._app):
                    await self._start_worker(feature.worker)
        if self._config.enable_cleanup:
            await self._start_component(Component("cleanup", self._clean_up))
        # What a process that died owes stays owed if nobody here is to hear of it: the next one may have who does.
        self._subscribed = any(name != PERSISTENCE.name for name in self._calls)
        if self._session_worker and self._subscribed:
            self._session_worker.announce_owed()

    async def _start_worker(self, kind: WorkerKind) -> None:
        make = WORKERS[kind].make
        name = f"{kind}_worker"
        await self._start_component(Component(name, lambda up: self._work(name, make(self._app), up)))

    async def _start_component(self, component: Component) -> None:
        self._stack.push_async_callback(component.stop)
        await component.start()
        self.components.append(component)

    async def _work(self, name: str, worker: Worker, up: Callable[[], None]) -> None:
        from agentbus.workers.session.worker import SessionWorker  # noqa: PLC0415 - imported already if it is one

        try:
            await worker.start()
            if isinstance(worker, SessionWorker):
                self._session_worker = worker
                if self._subscribed:
                    worker.announce_owed()
            self._at_work[name] = worker
            up()
            await worker.wait()
        finally:
            self._at_work.pop(name, None)
            # Rounds wait out an outage of the store, however long: that must not keep the program from ending.
            await worker.close(within=_DRAIN_SECONDS)

    async def _clean_up(self, up: Callable[[], None]) -> None:
        up()
        while True:
            await asyncio.sleep(self._config.cleanup_interval)
            await self.sections.deadlines.expire()
            up()


async def _opened(
    config: SessionSystemConfig, clock: Clock, callbacks: Sequence[NotificationCallback], stack: AsyncExitStack
) -> App:
    """Open the store and the bus that a configuration names, for as long as the stack lasts."""
    from agentbus.composition.tracing import tracing  # noqa: PLC0415 - as below
    from agentbus.settings import load_settings  # noqa: PLC0415 - pydantic-settings is for a system that starts
    from agentbus.storage.encryption import encrypting  # noqa: PLC0415 - as above

    settings = load_settings(
        amqp_url=config.amqp_url or "memory://",
        prefix=config.prefix,
        partitions=config.partitions,
        secret_keys=config.secret_keys,
        archive_url=archive_url_of(config),
        backup_url=backup_url_of(config),
        store_url=url_of(config.storage_type, config.storage_config),
    )
    stack.enter_context(tracing(settings))
    encryption = settings.encryption
    plain = store_for(config.storage_type, config.storage_config)
    store = await stack.enter_async_context(
        encrypting(plain, encryption.encryption_keys, encryption.encryption_key_store)
    )
    bus = await stack.enter_async_context(make_bus(settings))
    if config.amqp_url is None:
        await join_installation(store, bus, clock)
    else:
        await check_whole(store)
        await check_installation(store, bus.topology)
        await bus.check()
    return App(settings=settings, bus=bus, store=store, clock=clock, callbacks=callbacks)
