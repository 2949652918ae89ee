"""The composition of the reactive workers, over RabbitMQ or embedded."""

from collections.abc import Sequence

from agentbus.bootstrap import find_archive, make_clock
from agentbus.settings import Settings
from storage.port import Store
from workers.bus.memory import MemoryBus
from workers.bus.port import Bus
from workers.expiry.notify import (
    NotificationCallback,
    create_email_notification_callback,
    create_webhook_notification_callback,
    default_notification_callback,
)
from workers.expiry.rules import ExpiryRules
from workers.expiry.sweep import Sweep
from workers.expiry.watch.acting import Acting
from workers.expiry.worker import Events, ExpiryConfig, ExpiryWorker, Listen
from workers.reactive.commands import Commands
from workers.reactive.embedded import EmbeddedEvents
from workers.reactive.handling import Handler
from workers.sync.handler import TOPICS
from workers.sync.services import SyncServices, make_sync_services
from workers.sync.worker import SUBSCRIPTION, SyncWorker
from workers.telemetry import WorkerMetrics


def listener(settings: Settings, bus: Bus, metrics: WorkerMetrics) -> Listen:
    """Return what gives a reactive worker its events: FastStream over RabbitMQ, or the in-process bus."""
    failed = metrics.handler_failures.inc

    def listen(name: str, patterns: tuple[str, ...], handler: Handler) -> Events:
        if isinstance(bus, MemoryBus):
            return EmbeddedEvents(bus, name, patterns, handler, on_failure=failed)
        heartbeat = settings.bus.heartbeat
        # FastStream takes a quarter of a second to import; most commands do without.
        from workers.reactive.app import ReactiveApp  # noqa: PLC0415 - see above

        return ReactiveApp(settings.bus.amqp_url, bus, name, patterns, handler, heartbeat=heartbeat, on_failure=failed)

    return listen


def make_expiry_worker(
    settings: Settings,
    bus: Bus,
    store: Store,
    metrics: WorkerMetrics,
    *,
    callbacks: Sequence[NotificationCallback] = (),
) -> ExpiryWorker:
    """Return an expiry worker, not started yet; `callbacks` are told besides those that the settings name."""
    return ExpiryWorker(
        bus,
        store,
        listener(settings, bus, metrics),
        Commands(bus, scope=settings.session.scope),
        archive=find_archive(settings),
        callbacks=[*notification_callbacks(settings), *callbacks],
        clock=make_clock(),
        metrics=metrics,
        config=ExpiryConfig(
            beat=settings.session.worker_beat,
            ttl=settings.session.worker_ttl,
            secret_keys=settings.session.secret_keys,
        ),
    )


def make_sync(settings: Settings, bus: Bus, store: Store) -> SyncServices:
    """Return the parts of syncing: what people call, and what a sync worker goes by."""
    return make_sync_services(
        store,
        bus,
        Commands(bus, scope=settings.session.scope),
        clock=make_clock(),
        claim_secret=settings.sync.claim_secret,
        secret_keys=settings.session.secret_keys,
    )


def make_sync_worker(settings: Settings, bus: Bus, store: Store, metrics: WorkerMetrics) -> SyncWorker:
    """Return a sync worker, not started yet."""
    bus.on_reconnect = metrics.reconnections.inc
    services = make_sync(settings, bus, store)
    events = listener(settings, bus, metrics)(SUBSCRIPTION, TOPICS, services.handler)
    return SyncWorker(
        store,
        events,
        services.tasks,
        clock=make_clock(),
        topology=bus.topology,
        beat=settings.session.worker_beat,
        ttl=settings.session.worker_ttl,
        metrics=metrics,
    )


async def make_sweep(settings: Settings, bus: Bus, store: Store) -> Sweep:
    """Return a sweep by the rules that are there now. Raises ConfigurationError for rules that can't be read."""
    clock = make_clock()
    acting = Acting(
        store,
        Commands(bus, scope=settings.session.scope),
        find_archive(settings),
        metrics=WorkerMetrics(),
        clock=clock,
        secret_keys=settings.session.secret_keys,
    )
    return Sweep(store, await ExpiryRules(store, clock).list(), acting, clock)


def notification_callbacks(settings: Settings) -> list[NotificationCallback]:
    """Return who is told what expiry rules do: the log, and whom the settings name. Raises ConfigurationError."""
    told = settings.expiry
    callbacks: list[NotificationCallback] = [default_notification_callback]
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
