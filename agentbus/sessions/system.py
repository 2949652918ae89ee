"""The session system: a session manager with all that runs behind it."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Final, NoReturn, Self

from agentbus.client import AgentBus
from agentbus.composition.app import App, make_bus, make_clock
from agentbus.composition.supervision import Component, ComponentState
from agentbus.composition.workers import (
    make_expiry_worker,
    make_session_worker,
    make_sweep,
    make_sync,
    make_sync_worker,
)
from agentbus.logs import configure_library_logs
from agentbus.sessions.config import SessionSystemConfig, archive_url_of
from agentbus.sessions.expiring import Expiring
from agentbus.sessions.manager import Engine
from agentbus.sessions.model.health import Health
from agentbus.sessions.model.types import SessionStatus
from agentbus.sessions.storage import store_for
from agentbus.sessions.syncing import Syncing
from agentbus.settings import Settings, load_settings
from contracts.errors import AgentBusError, FeatureNotEnabled, NotInitialized, StoreError
from contracts.history import SessionFilter
from contracts.ids import SessionId
from contracts.records import SessionStatistics
from storage.reading import iter_due
from workers.concurrency import raise_if_cancelled
from workers.domain.deadlines import has_expired
from workers.expiry.sweep import Finding
from workers.installation.record import check_installation, join_installation
from workers.session.worker import SessionWorker
from workers.worker import Worker

_FEATURES: Final = ("sync", "persistence", "tracking", "expiry")

_THERE: Final = ("sync", "expiry")
"""Those that this release has."""

_DRAIN_SECONDS: Final = 5.0
"""How long stopping waits for what is in hand."""


@dataclass(frozen=True, slots=True)
class CleanupReport:
    """What a look for expired sessions did, or would do."""

    dry_run: bool
    expired: tuple[SessionId, ...]
    """Sessions whose time was over."""
    idle: tuple[SessionId, ...]
    """Sessions that were silent for longer than their idle timeout."""
    steps: tuple[Finding, ...] = ()
    """What was due by expiry rules, session by session, and what came of it; with `enable_expiry` alone."""
    failed: Mapping[SessionId, AgentBusError] = field(default_factory=dict)
    """Sessions that were due and could not be dealt with, as their conversations are blocked, and why."""


class SessionSystem(Syncing, Expiring):
    """All that SessionManager offers, started and stopped together with what it needs.

    Embedded (no `amqp_url`) it runs a bus and a session worker in this process. Several processes may run embedded on
    one store: every change is checked against the log. With `amqp_url` the same calls go to the session workers there.
    """

    def __init__(self, config: SessionSystemConfig | None = None) -> None:
        self.config = config or SessionSystemConfig()
        super().__init__(None, self.config.manager_options, clock=make_clock())
        self.config.update({})  # checks it
        self._changing = asyncio.Lock()
        self._told = []
        self._stack: AsyncExitStack | None = None
        self._components: list[Component] = []
        self._started_at: datetime | None = None
        self._worker: SessionWorker | None = None
        self._subscribed = False

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Open store and bus, and start the components. Idempotent.

        Raises ConfigurationError, FeatureNotEnabled for a part that is not there yet, StoreUnavailable, BusError.
        """
        async with self._changing:
            if self._stack is None:
                await self._start()

    async def stop(self) -> None:
        """Stop the components, finish what is in hand, close bus and store. Idempotent.

        A call that the store did not answer is given up after a few seconds: whoever made it may repeat it later.
        """
        async with self._changing:
            stack, self._stack = self._stack, None
            if stack is not None:
                await stack.aclose()

    async def restart(self) -> None:
        """Stop and start again. Sessions in memory are gone then."""
        await self.stop()
        await self.start()

    async def track_event(self, *_: Any, **__: Any) -> NoReturn:
        """Record an event of a session. Raises FeatureNotEnabled: tracking comes in a later release."""
        _not_there("tracking")

    async def create_backup(self, *_: Any, **__: Any) -> NoReturn:
        """Make a backup. Raises FeatureNotEnabled: backups come in a later release."""
        _not_there("persistence")

    async def restore_backup(self, *_: Any, **__: Any) -> NoReturn:
        """Restore a backup. Raises FeatureNotEnabled: backups come in a later release."""
        _not_there("persistence")

    async def cleanup_expired_sessions(self, dry_run: bool = False) -> CleanupReport:
        """Expire the sessions whose time has come, and make idle those that were silent; return which they were.

        With `enable_expiry`, do what is due by expiry rules too. A dry run changes nothing; it names all that is due.
        """
        if not dry_run:
            done, failed = await self._apply_deadlines()
            steps = tuple(await self._sweep(dry_run=False))
            expired, idle = tuple(done[SessionStatus.EXPIRED]), tuple(done[SessionStatus.IDLE])
            return CleanupReport(dry_run, expired, idle, steps, failed)
        now = self._clock.now()
        due = [state async for state in iter_due(self._store, now)]
        over = {state.session_id for state in due if has_expired(state, now)}
        silent = (state.session_id for state in due if state.session_id not in over)
        return CleanupReport(dry_run, tuple(over), tuple(silent), tuple(await self._sweep(dry_run=True)))

    async def get_system_status(self) -> dict[str, Any]:
        """Return how the system is: `system`, `metrics`, `components`, `features`.

        Its status is running, stopped, or degraded while a part of it does not work. The metrics are None while there
        is no store to ask.
        """
        running = self._stack is not None
        figures = await self._figures()
        working = figures and all(component.state is ComponentState.RUNNING for component in self._components)
        return {
            "system": {
                "status": ("running" if working else "degraded") if running else "stopped",
                "mode": "distributed" if self.config.amqp_url else "embedded",
                "storage": str(self.config.storage_type),
                "started_at": f"{self._started_at:%Y-%m-%dT%H:%M:%SZ}" if self._started_at and running else None,
            },
            "metrics": {
                "total_sessions": figures.total if figures else None,
                "active_sessions": figures.by_status.get(SessionStatus.ACTIVE, 0) if figures else None,
                "messages": figures.messages if figures else None,
            },
            "components": {component.name: component.describe() for component in self._components},
            "features": {feature: self._is_on(feature) for feature in _FEATURES},
        }

    async def get_health_check(self) -> Health:
        """Return as `health_check` does."""
        return await self.health_check()

    async def health_check(self) -> Health:
        """Return whether each part works, with the reason where one does not; true if all of them do."""
        parts = {
            component.name: {"healthy": component.state is ComponentState.RUNNING, **component.describe()}
            for component in self._components
        }
        return Health({**parts, "store": await self._store_check()})

    async def _figures(self) -> SessionStatistics | None:
        try:
            return await self._store.heads.statistics(SessionFilter())
        except (StoreError, NotInitialized):
            raise_if_cancelled()
            return None

    async def _start(self) -> None:
        configure_library_logs()
        for feature in _FEATURES:
            if self._is_on(feature) and feature not in _THERE:
                _not_there(feature)
        async with AsyncExitStack() as stack:
            stack.callback(self._detach_engine)
            await self._open(stack)
            self._stack = stack.pop_all()
        self._started_at = self._clock.now()

    async def _open(self, stack: AsyncExitStack) -> None:
        settings = self._settings()
        store = await stack.enter_async_context(store_for(self.config.storage_type, self.config.storage_config))
        bus = await stack.enter_async_context(make_bus(settings))
        if self.config.amqp_url is None:
            await join_installation(store, bus, self._clock)
        else:
            await check_installation(store, bus.topology)
            await bus.check()
        app = App(settings=settings, bus=bus, store=store, clock=self._clock)
        scope = settings.session.scope
        client = AgentBus(bus, scope=scope)
        engine = Engine(client, store, scope, self.config.call_timeout, stopped=lambda: self._attached is not engine)
        self._attached = engine
        if self.config.amqp_url is None:
            await self._run(stack, Component("session_worker", lambda up: self._work(make_session_worker(app), up)))
        if self._is_on("sync"):
            self._sync_services = make_sync(app)
            await self._run(stack, Component("sync_worker", lambda up: self._work(make_sync_worker(app), up)))
        if self._is_on("expiry"):
            self._make_sweep = partial(make_sweep, app)
            await self._run(
                stack, Component("expiry_worker", lambda up: self._work(make_expiry_worker(app, self._told), up))
            )
        if self.config.enable_cleanup:
            await self._run(stack, Component("cleanup", self._clean_up))
        # What a process that died owes stays owed if nobody here is to hear of it: the next one may have who does.
        self._subscribed = self._is_on("sync") or self._is_on("expiry")
        if self._worker and self._subscribed:
            self._worker.announce_owed()

    def _detach_engine(self) -> None:
        self._attached = None
        self._worker, self._subscribed = None, False
        self._sync_services = None
        self._make_sweep = None
        self._components = []

    async def _run(self, stack: AsyncExitStack, component: Component) -> None:
        stack.push_async_callback(component.stop)
        await component.start()
        self._components.append(component)

    def _settings(self) -> Settings:
        return load_settings(
            amqp_url=self.config.amqp_url or "memory://",
            prefix=self.config.prefix,
            partitions=self.config.partitions,
            secret_keys=self.config.secret_keys,
            archive_url=archive_url_of(self.config),
        )

    def _is_on(self, feature: str) -> bool:
        switched_on = getattr(self.config, f"enable_{feature}")
        return bool(switched_on or (self.config.enable_all_features and feature in _THERE))

    async def _work(self, worker: Worker, up: Callable[[], None]) -> None:
        try:
            await worker.start()
            if isinstance(worker, SessionWorker):
                self._worker = worker
                if self._subscribed:
                    worker.announce_owed()
            up()
            await worker.wait()
        finally:
            # Rounds wait out an outage of the store, however long: that must not keep the program from ending.
            await worker.close(within=_DRAIN_SECONDS)

    async def _clean_up(self, up: Callable[[], None]) -> None:
        up()
        while True:
            await asyncio.sleep(self.config.cleanup_interval)
            await self.cleanup_all_expired()
            up()


def _not_there(feature: str) -> NoReturn:
    raise FeatureNotEnabled(f"{feature} comes in a later release; leave enable_{feature} off until then")
