"""The workers that there are, a row each, and the services that are put together the same way everywhere.

Each is imported when it is made: a process pays for those that it runs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Final

from agentbus.composition.app import App, need_backups, place_of
from agentbus.contracts.errors import ConfigurationError
from agentbus.contracts.extras import importing_extras
from agentbus.contracts.members import WorkerKind
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.worker import Worker

if TYPE_CHECKING:
    from agentbus.settings import Settings
    from agentbus.workers.backup.worker import BackupWorker
    from agentbus.workers.expiry.sweep import Sweep
    from agentbus.workers.expiry.worker import ExpiryWorker
    from agentbus.workers.gateway.worker import GatewayWorker
    from agentbus.workers.ingress.router import IngressRouter
    from agentbus.workers.notify import NotificationCallback
    from agentbus.workers.outbound.worker import OutboundWorker
    from agentbus.workers.reactive.handler import Handler
    from agentbus.workers.reactive.worker import Events
    from agentbus.workers.session.worker import SessionWorker
    from agentbus.workers.sync.services import SyncServices
    from agentbus.workers.sync.worker import SyncWorker
    from agentbus.workers.tracking.worker import TrackingWorker


_GATEWAY_CONNECTIONS: Final = 1000
"""Connections that a gateway has at once: one too many ends the oldest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRow:
    """A kind of worker."""

    make: Callable[[App], Worker]
    """Makes one, not started yet. Raises ConfigurationError."""
    does: str
    """What it is for, in a few words."""
    in_all: "Callable[[Settings], bool]" = lambda _settings: True
    """Whether there is something for it to do, by the settings: whoever wants a worker of each kind means it too."""


def make_session_worker(app: App) -> "SessionWorker":
    """Return a session worker; alone on its bus, it takes commands from everybody there."""
    from agentbus.workers.session.config import SessionWorkerConfig  # noqa: PLC0415 - see above
    from agentbus.workers.session.worker import SessionWorker  # noqa: PLC0415 - see above

    session = app.settings.session
    config = SessionWorkerConfig(
        scope=session.scope,
        prefetch=session.prefetch,
        max_live=session.max_live,
        beat=session.worker_beat,
        ttl=session.worker_ttl,
        stall_limit=float(app.settings.bus.heartbeat),
        park_limit=session.park_limit,
        on_failure=session.on_failure,
        secret_keys=session.secret_keys,
        resets=session.reset_policies,
        command_users=() if app.alone else app.settings.bus.command_users,
        embedded=app.alone,
    )
    return SessionWorker(app.bus, app.store, config=config, clock=app.clock, metrics=app.metrics)


def make_router(app: App) -> "IngressRouter":
    """Return an ingress router; the others know of it, if there can be any."""
    from agentbus.workers.delivery.presence import Presence  # noqa: PLC0415 - see above
    from agentbus.workers.ingress.router import IngressRouter  # noqa: PLC0415 - see above

    session = app.settings.session
    if app.alone:
        return IngressRouter(app.bus, scope=session.scope, metrics=app.metrics)
    presence = Presence(
        app.store,
        WorkerKind.INGRESS.group(app.bus.topology.prefix),
        clock=app.clock,
        interval=session.worker_beat,
        ttl=session.worker_ttl,
    )
    return IngressRouter(app.bus, scope=session.scope, metrics=app.metrics, presence=presence, trials_in=app.store)


def make_expiry_worker(app: App) -> "ExpiryWorker":
    """Return an expiry worker."""
    from agentbus.workers.expiry.worker import ExpiryConfig, ExpiryWorker  # noqa: PLC0415 - see above

    session = app.settings.session
    return ExpiryWorker(
        app.bus,
        app.store,
        partial(_events, app),
        app.commands,
        archive=app.archive,
        callbacks=[*notification_callbacks(app.settings), *app.callbacks],
        clock=app.clock,
        metrics=app.metrics,
        config=ExpiryConfig(beat=session.worker_beat, ttl=session.worker_ttl, secret_keys=session.secret_keys),
    )


def make_sync_worker(app: App) -> "SyncWorker":
    """Return a sync worker."""
    from agentbus.workers.sync.handler import TOPICS  # noqa: PLC0415 - see above
    from agentbus.workers.sync.worker import SUBSCRIPTION, SyncWorker  # noqa: PLC0415 - see above

    services = make_sync(app)
    return SyncWorker(
        app.store,
        _events(app, SUBSCRIPTION, TOPICS, services.handler),
        services.tasks,
        clock=app.clock,
        topology=app.bus.topology,
        beat=app.settings.session.worker_beat,
        ttl=app.settings.session.worker_ttl,
        metrics=app.metrics,
    )


def make_tracking_worker(app: App) -> "TrackingWorker":
    """Return a tracking worker. Raises ConfigurationError for a transition handler that can't be imported."""
    from agentbus.workers.tracking.catch_up import Tracker  # noqa: PLC0415 - see above
    from agentbus.workers.tracking.transitions import transition_handlers  # noqa: PLC0415 - see above
    from agentbus.workers.tracking.worker import (  # noqa: PLC0415 - see above
        SUBSCRIPTION,
        TOPICS,
        TRANSITIONS,
        TrackingHandler,
        TrackingWorker,
        TransitionTeller,
    )

    tracker = Tracker(app.store, app.archive)
    handler = TrackingHandler(tracker)
    told = [
        _events(app, f"transitions-{name}", TRANSITIONS, TransitionTeller(name, one))
        for name, one in transition_handlers().items()
    ]
    return TrackingWorker(
        app.store,
        _events(app, SUBSCRIPTION, TOPICS, handler),
        handler,
        tracker,
        told=told,
        clock=app.clock,
        topology=app.bus.topology,
        beat=app.settings.session.worker_beat,
        ttl=app.settings.session.worker_ttl,
        metrics=app.metrics,
    )


def make_gateway(app: App) -> "GatewayWorker":
    """Return a gateway for the accounts that the settings give. Raises ConfigurationError, also if they give none."""
    with importing_extras("channels"):
        from agentbus.composition.probes import Connections, serving  # noqa: PLC0415 - see above
        from agentbus.workers.adapters.factory import accounts_in  # noqa: PLC0415 - see above
        from agentbus.workers.delivery.presence import Presence  # noqa: PLC0415 - see above
        from agentbus.workers.gateway.app import Gateway  # noqa: PLC0415 - see above
        from agentbus.workers.gateway.asking import Asking  # noqa: PLC0415 - see above
        from agentbus.workers.gateway.hosting import host_all  # noqa: PLC0415 - see above
        from agentbus.workers.gateway.intake import Intake  # noqa: PLC0415 - see above
        from agentbus.workers.gateway.worker import GatewayWorker  # noqa: PLC0415 - see above
        from agentbus.workers.outbound.receipts import report_of  # noqa: PLC0415 - see above

    channels, session = app.settings.channels, app.settings.session
    if not channels.channels:
        raise ConfigurationError("a gateway needs accounts: AGENTBUS_CHANNELS says which")
    inputs = Inputs(app.bus, scope=session.scope)
    accounts, prefix = accounts_in(channels.channels), app.bus.topology.prefix
    intake = Intake(inputs, accounts, rate=channels.gateway_rate, metrics=app.metrics, report=report_of)
    asking = [
        Asking(intake, one.channel.name, one.name, source, store=app.store, prefix=prefix, clock=app.clock)
        for one in accounts
        for source in (one.channel.sources(one.name, one.account) if one.channel.sources else ())
    ]
    gateway = Gateway(intake, clock=app.clock, max_body=channels.gateway_max_body, metrics=app.metrics)
    listening = host_all(gateway, accounts, bus=app.bus, store=app.store, clock=app.clock, scope=session.scope)
    presence = Presence(
        app.store,
        WorkerKind.GATEWAY.group(prefix),
        clock=app.clock,
        interval=session.worker_beat,
        ttl=session.worker_ttl,
    )
    served = partial(
        serving,
        port=channels.gateway_port,
        host=channels.gateway_host,
        connections=Connections(most=_GATEWAY_CONNECTIONS),
        sockets=bool(listening),
    )
    return GatewayWorker(gateway, served, asking=asking, listening=listening, presence=None if app.alone else presence)


def make_backup_worker(app: App) -> "BackupWorker":
    """Return a backup worker. Raises ConfigurationError if the settings name no place for backups."""
    from agentbus.storage.backup.retention import Keep  # noqa: PLC0415 - see above
    from agentbus.workers.backup.worker import BackupConfig, BackupWorker  # noqa: PLC0415 - see above

    backup, session = app.settings.backup, app.settings.session
    config = BackupConfig(
        source=place_of(app.settings.store.store_url),
        every=backup.backup_every,
        full_every=backup.backup_full_every,
        file_format=backup.backup_format,
        keep=Keep(
            last=backup.backup_keep_last,
            daily=backup.backup_keep_daily,
            weekly=backup.backup_keep_weekly,
            monthly=backup.backup_keep_monthly,
        ),
        beat=session.worker_beat,
        ttl=session.worker_ttl,
    )
    return BackupWorker(
        app.store,
        need_backups(app.settings, app.store),
        clock=app.clock,
        topology=app.bus.topology,
        metrics=app.metrics,
        config=config,
    )


def make_outbound_worker(app: App) -> "OutboundWorker":
    """Return an outbound worker for the accounts that the settings give. Raises ConfigurationError, also for none."""
    with importing_extras("channels"):
        from agentbus.workers.adapters.factory import accounts_in  # noqa: PLC0415 - see above
        from agentbus.workers.outbound.channels import Ways, ways_of  # noqa: PLC0415 - see above
        from agentbus.workers.outbound.worker import OutboundConfig, OutboundWorker  # noqa: PLC0415 - see above

    channels, session = app.settings.channels, app.settings.session
    if not channels.channels:
        raise ConfigurationError("an outbound worker needs accounts: AGENTBUS_CHANNELS says which")
    config = OutboundConfig(
        beat=session.worker_beat,
        ttl=session.worker_ttl,
        in_doubt=channels.replies_in_doubt,
        give_up=channels.replies_give_up,
    )
    return OutboundWorker(
        app.bus,
        app.store,
        partial(_events, app),
        app.commands,
        Ways(partial(ways_of, accounts_in(channels.channels))),
        clock=app.clock,
        metrics=app.metrics,
        config=config,
    )


def make_api(app: App) -> Worker:
    """Return a worker that serves the HTTP API."""
    with importing_extras("http"):
        # By its name: it stands on the operations, and they on what is put together here.
        api = import_module("agentbus.http.hosting")
    worker: Worker = api.make_api_worker(app)
    return worker


WORKERS: Final[Mapping[WorkerKind, WorkerRow]] = {
    WorkerKind.SESSION: WorkerRow(make=make_session_worker, does="consumes the partitions and keeps their sessions"),
    WorkerKind.INGRESS: WorkerRow(make=make_router, does="finds the partition for publishers that don't"),
    WorkerKind.SYNC: WorkerRow(make=make_sync_worker, does="shares context between linked sessions"),
    WorkerKind.EXPIRY: WorkerRow(make=make_expiry_worker, does="ends sessions by rules and by their own deadlines"),
    WorkerKind.TRACKING: WorkerRow(make=make_tracking_worker, does="keeps figures of how sessions are used"),
    WorkerKind.GATEWAY: WorkerRow(
        make=make_gateway,
        does="takes what chat platforms post, for the accounts in AGENTBUS_CHANNELS",
        in_all=lambda settings: bool(settings.channels.channels),
    ),
    WorkerKind.BACKUP: WorkerRow(
        make=make_backup_worker,
        does="makes backups when their time has come",
        in_all=lambda settings: settings.backup.backup_url is not None,
    ),
    WorkerKind.OUTBOUND: WorkerRow(
        make=make_outbound_worker,
        does="sends replies to chat platforms, by the accounts in AGENTBUS_CHANNELS",
        in_all=lambda settings: bool(settings.channels.channels),
    ),
    WorkerKind.API: WorkerRow(
        make=make_api,
        does="serves the HTTP API, at AGENTBUS_API_PORT",
        in_all=lambda settings: settings.api.api_in_all,
    ),
}
"""Every kind. Those of one process start at the same time, and close so."""


def make_sync(app: App) -> "SyncServices":
    """Return the parts of syncing: what people call, and what a sync worker goes by."""
    from agentbus.workers.sync.services import make_sync_services  # noqa: PLC0415 - see above

    return make_sync_services(
        app.store,
        app.bus,
        app.commands,
        clock=app.clock,
        claim_secret=app.settings.sync.claim_secret,
        secret_keys=app.settings.session.secret_keys,
    )


async def make_sweep(app: App) -> "Sweep":
    """Return a sweep by the rules that are there now. Raises ConfigurationError for rules that can't be read."""
    from agentbus.workers.expiry.rules import ExpiryRules  # noqa: PLC0415 - see above
    from agentbus.workers.expiry.sweep import Sweep  # noqa: PLC0415 - see above
    from agentbus.workers.expiry.watch.commands import ExpiryCommands  # noqa: PLC0415 - see above

    acting = ExpiryCommands(
        app.store,
        app.commands,
        app.archive,
        metrics=app.metrics,
        clock=app.clock,
        secret_keys=app.settings.session.secret_keys,
    )
    return Sweep(app.store, await ExpiryRules(app.store, app.clock).list(), acting, app.clock)


def notification_callbacks(settings: "Settings") -> "list[NotificationCallback]":
    """Return whom the settings name to be told what expiry rules do. Raises ConfigurationError."""
    from agentbus.workers.notify import (  # noqa: PLC0415 - see above
        create_email_notification_callback,
        create_webhook_notification_callback,
    )

    told = settings.expiry
    callbacks: list[NotificationCallback] = []
    if told.expiry_webhook:
        secret, private = told.expiry_webhook_secret or "", told.expiry_webhook_private
        callbacks.append(create_webhook_notification_callback(told.expiry_webhook, secret, allow_private=private))
    if told.expiry_email_to:
        mail = create_email_notification_callback(
            told.smtp_host,
            told.smtp_port,
            told.expiry_email_from,
            told.expiry_email_to,
            username=told.smtp_username,
            password=told.smtp_password,
        )
        callbacks.append(mail)
    return callbacks


def _events(app: App, name: str, patterns: tuple[str, ...], handler: "Handler") -> "Events":
    """Return what gives a reactive worker its events: FastStream; or our bus, if in-process, or for many at once."""
    from agentbus.workers.reactive.batches import BatchedEvents  # noqa: PLC0415 - see above
    from agentbus.workers.reactive.handler import BatchHandler  # noqa: PLC0415 - see above

    if isinstance(app.bus, MemoryBus) or isinstance(handler, BatchHandler):
        return BatchedEvents(app.bus, name, patterns, handler, metrics=app.metrics)
    # FastStream takes a quarter of a second to import; most commands do without.
    with importing_extras():
        from agentbus.workers.reactive.app import ReactiveApp  # noqa: PLC0415 - see above

    bus = app.settings.bus
    return ReactiveApp(bus.amqp_url, app.bus, name, patterns, handler, heartbeat=bus.heartbeat, metrics=app.metrics)
