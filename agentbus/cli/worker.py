"""`agentbus worker`: start one; start more when load grows."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from functools import partial
from typing import Annotated, Protocol

import typer
from starlette.applications import Starlette

from agentbus.bootstrap import installed, make_router, make_session_worker
from agentbus.cli import options
from agentbus.cli.running import run, settings_of
from agentbus.collector import calm_collector
from agentbus.health import LOOPBACK, health_app, metrics_app, serving
from agentbus.reacting import make_expiry_worker, make_sync_worker
from agentbus.settings import Settings
from agentbus.signals import signalled
from workers.endings import ended
from workers.installation.watch import until_it_changes
from workers.telemetry import WorkerMetrics, process_registry

app = typer.Typer(
    help="Run a worker until SIGTERM or Ctrl-C; it then finishes what it has begun.", no_args_is_help=True
)

HttpPort = Annotated[
    int | None,
    typer.Option(min=0, max=65535, metavar="PORT", help="Serve /live, /ready and /metrics at this port."),
]
MetricsPort = Annotated[
    int | None, typer.Option("--http-port", min=0, max=65535, metavar="PORT", help="Serve /metrics at this port.")
]
HttpHost = Annotated[
    str,
    typer.Option(
        metavar="ADDRESS",
        help="The address that --http-port listens at; in a container 0.0.0.0, for all that reach it.",
    ),
]

Http = tuple[str, int | None]
"""The address and the port to serve at; no port: nothing is served."""


@app.command("session")
def session(
    amqp: options.Amqp = None,
    store: options.StoreUrl = None,
    prefix: options.Prefix = None,
    partitions: options.Partitions = None,
    scope: options.ScopePolicy = None,
    wait: options.Wait = None,
    http_port: HttpPort = None,
    http_host: HttpHost = LOOPBACK,
) -> None:
    """Run a session worker: it consumes the partitions and keeps their sessions.

    It declares the topology, waits for a broker or store that is not there yet, and works until it is told to stop.
    """
    settings = settings_of(
        patient=True, amqp_url=amqp, store_url=store, prefix=prefix, partitions=partitions, scope=scope, wait=wait
    )
    run(_session(settings, (http_host, http_port)))


@app.command("expiry")
def expiry(
    archive: options.ArchiveUrl = None,
    amqp: options.Amqp = None,
    store: options.StoreUrl = None,
    prefix: options.Prefix = None,
    partitions: options.Partitions = None,
    scope: options.ScopePolicy = None,
    wait: options.Wait = None,
    http_port: MetricsPort = None,
    http_host: HttpHost = LOOPBACK,
) -> None:
    """Run an expiry worker: it ends sessions by rules and by their own deadlines; several share the work.

    The rules: agentbus expiry rules. Who is told: AGENTBUS_EXPIRY_WEBHOOK, AGENTBUS_EXPIRY_EMAIL_TO.
    """
    settings = settings_of(
        patient=True,
        archive_url=archive,
        amqp_url=amqp,
        store_url=store,
        prefix=prefix,
        partitions=partitions,
        scope=scope,
        wait=wait,
    )
    run(_expiry(settings, (http_host, http_port)))


@app.command("sync")
def sync(
    amqp: options.Amqp = None,
    store: options.StoreUrl = None,
    prefix: options.Prefix = None,
    partitions: options.Partitions = None,
    scope: options.ScopePolicy = None,
    wait: options.Wait = None,
    http_port: MetricsPort = None,
    http_host: HttpHost = LOOPBACK,
) -> None:
    """Run a sync worker: it shares context between linked sessions, and hears claim codes; several share the work.

    Who is linked: agentbus identity. What is shared: agentbus sync policy.
    """
    settings = settings_of(
        patient=True, amqp_url=amqp, store_url=store, prefix=prefix, partitions=partitions, scope=scope, wait=wait
    )
    run(_sync(settings, (http_host, http_port)))


@app.command("ingress")
def ingress(
    amqp: options.Amqp = None,
    store: options.StoreUrl = None,
    prefix: options.Prefix = None,
    partitions: options.Partitions = None,
    scope: options.ScopePolicy = None,
    wait: options.Wait = None,
    http_port: MetricsPort = None,
    http_host: HttpHost = LOOPBACK,
) -> None:
    """Run an ingress router: it finds the partition for publishers that don't; a second one stands by."""
    settings = settings_of(
        patient=True, amqp_url=amqp, store_url=store, prefix=prefix, partitions=partitions, scope=scope, wait=wait
    )
    run(_ingress(settings, (http_host, http_port)))


async def _session(settings: Settings, http: Http) -> None:
    registry = process_registry()
    async with installed(settings) as (bus, store):
        worker = make_session_worker(settings, bus, store, WorkerMetrics(registry))
        others = (worker.wait, partial(until_it_changes, store, bus.topology))
        await _work(worker, health_app(worker.health, registry), http, *others)


async def _expiry(settings: Settings, http: Http) -> None:
    registry = process_registry()
    async with installed(settings) as (bus, store):
        worker = make_expiry_worker(settings, bus, store, WorkerMetrics(registry))
        await _work(worker, metrics_app(registry), http, partial(until_it_changes, store, bus.topology))


async def _sync(settings: Settings, http: Http) -> None:
    registry = process_registry()
    async with installed(settings) as (bus, store):
        worker = make_sync_worker(settings, bus, store, WorkerMetrics(registry))
        await _work(worker, metrics_app(registry), http, partial(until_it_changes, store, bus.topology))


async def _ingress(settings: Settings, http: Http) -> None:
    registry = process_registry()
    async with installed(settings) as (bus, store):
        router = make_router(settings, bus, store, WorkerMetrics(registry))
        await _work(router, metrics_app(registry), http, partial(until_it_changes, store, bus.topology))


class _Worker(Protocol):
    async def start(self) -> None: ...
    async def close(self) -> None: ...


async def _work(
    worker: _Worker, app: Starlette, http: Http, *others: Callable[[], Coroutine[None, None, None]]
) -> None:
    """Have a worker at work until a signal comes or one of `others` is over, and close it.

    A signal that comes while it starts ends it too. Its HTTP port, if there is to be one, is there from before its
    start to before its end.
    """
    async with AsyncExitStack() as stack:
        stop = stack.enter_context(signalled())
        stack.push_async_callback(worker.close)
        host, port = http
        if port is not None:
            await stack.enter_async_context(serving(app, port, host=host))
        await _either(stop.wait(), worker.start())
        if not stop.is_set():
            calm_collector()
            await _either(stop.wait(), *(other() for other in others))


async def _either(*waits: Coroutine[None, None, object]) -> None:
    """Wait until the first is over; raise what it raised."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await ended(task for task in tasks if not task.done())
    for task in done:
        task.result()
