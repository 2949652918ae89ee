"""A worker's HTTP port: probes for an orchestrator, metrics for Prometheus."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from contracts.errors import ConfigurationError
from workers.session.worker import Health


def health_app(health: Callable[[], Health], registry: CollectorRegistry) -> Starlette:
    """Return the application: `/live`, `/ready` (200 or 503, with the reason as JSON) and `/metrics`."""

    async def live(_: Request) -> Response:
        return _probe(health(), health().live)

    async def ready(_: Request) -> Response:
        return _probe(health(), health().ready)

    return Starlette(routes=[Route("/live", live), Route("/ready", ready), _metrics(registry)])


def metrics_app(registry: CollectorRegistry) -> Starlette:
    """Return the application of a worker without probes: `/metrics`."""
    return Starlette(routes=[_metrics(registry)])


def _metrics(registry: CollectorRegistry) -> Route:
    async def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return Route("/metrics", metrics)


def _probe(health: Health, well: bool) -> JSONResponse:
    shown: dict[str, Any] = {
        "live": health.live,
        "ready": health.ready,
        "loop_lag_seconds": round(health.lag, 3),
        "worker": health.member.model_dump(mode="json"),
    }
    return JSONResponse(shown, status_code=200 if well else 503)


class _Server(uvicorn.Server):
    """A server inside a process that handles signals itself."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving(app: Starlette, port: int, *, host: str = "0.0.0.0") -> AsyncIterator[int]:  # noqa: S104 - probes come from outside the container
    """Serve `app` while the body runs; yield the port, which is a free one for port 0.

    Raises ConfigurationError if the port can't be had.
    """
    server = _Server(uvicorn.Config(app, host=host, port=port, log_level="warning", lifespan="off"))
    try:
        listening = socket.create_server((host, port))
    except OSError as error:
        raise ConfigurationError(
            f"can't listen at port {port} ({error.strerror}): choose another --http-port"
        ) from None
    with listening:  # uvicorn closes it too, unless it is cancelled
        task = asyncio.create_task(server.serve([listening]))
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            await task
