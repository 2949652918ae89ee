"""The HTTP port of a process that runs workers: probes for an orchestrator, metrics for Prometheus."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, Final

import h11
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from agentbus.contracts.errors import ConfigurationError
from agentbus.contracts.extras import importing_extras
from agentbus.contracts.members import WorkerKind
from agentbus.contracts.urls import LOOPBACK
from agentbus.workers.adapters.port import LASTING
from agentbus.workers.worker import Health


def probes_app(health: Mapping[WorkerKind, Callable[[], Health]], registry: CollectorRegistry) -> Starlette:
    """Return the application: `/live`, `/ready` (200 or 503, with the reasons as JSON) and `/metrics`.

    A process is live, or ready, if all its workers are.
    """

    async def live(_: Request) -> Response:
        found = {kind: ask() for kind, ask in health.items()}
        return _probe(found, all(one.live for one in found.values()))

    async def ready(_: Request) -> Response:
        found = {kind: ask() for kind, ask in health.items()}
        return _probe(found, all(one.ready for one in found.values()))

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return Starlette(routes=[Route("/live", live), Route("/ready", ready), Route("/metrics", metrics)])


def _probe(health: Mapping[WorkerKind, Health], well: bool) -> JSONResponse:
    shown: dict[str, Any] = {
        "live": all(one.live for one in health.values()),
        "ready": all(one.ready for one in health.values()),
        "loop_lag_seconds": round(max(one.lag for one in health.values()), 3),
        "workers": {
            kind.value: {
                "live": one.live,
                "ready": one.ready,
                "member": one.member.model_dump(mode="json") if one.member else None,
            }
            for kind, one in health.items()
        },
    }
    return JSONResponse(shown, status_code=200 if well else 503)


CLOSING_SECONDS: Final = 2
MOST_CONNECTIONS: Final = 100
MOST_FRAME: Final = 65_536
"""Bytes of what comes by a WebSocket at a time."""
IDLE_SECONDS: Final = 30.0
"""Seconds that a connection may take to its first response, and from one response to the end of the next."""


class _Server(uvicorn.Server):
    """A server inside a process that handles signals itself."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Connections:
    """The connections of one server: no more than `most`, none of them idle for more than `seconds`.

    One too many ends the oldest, with what is done for it: whoever floods the port loses their own, and a probe that
    comes now is answered.
    Those of WebSockets, and of responses that are to last, are no longer among them: who answers so counts them.
    """

    def __init__(self, *, most: int = MOST_CONNECTIONS, seconds: float = IDLE_SECONDS) -> None:
        self._most = most
        self._seconds = seconds
        self._open: dict[H11Protocol, asyncio.TimerHandle] = {}

    def __len__(self) -> int:
        return len(self._open)

    def protocol(self) -> type[H11Protocol]:
        """Return the protocol of the connections that are kept here."""
        kept = self

        class Kept(H11Protocol):
            def __init__(self, *args: Any, **settings: Any) -> None:
                super().__init__(*args, **settings)
                self.calls: set[asyncio.Task[Any]] = set()
                self.app = _counted(_with_lasting(self.app, partial(kept.end, self), partial(kept.begin, self)), self)

            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
                super().connection_made(transport)
                # asyncio does so for sockets that name their protocol; those of `socket.create_server` don't, and what
                # is written after the head of an answer would wait for the client's delayed acknowledgement: 40 ms.
                transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                kept.begin(self)

            def connection_lost(self, exc: Exception | None) -> None:
                kept.end(self)
                super().connection_lost(exc)

            def on_response_complete(self) -> None:
                kept.begin(self)
                super().on_response_complete()

            def handle_websocket_upgrade(self, event: h11.Request) -> None:
                kept.end(self)  # what follows is asked by pings whether it is there
                super().handle_websocket_upgrade(event)

        return Kept

    def begin(self, connection: H11Protocol) -> None:
        """Give a connection its time until its next response is complete."""
        self.end(connection)
        if connection.transport.is_closing():
            return
        self._open[connection] = connection.loop.call_later(self._seconds, connection.transport.abort)
        if len(self._open) > self._most:
            oldest = next(iter(self._open))
            self.end(oldest)
            oldest.transport.abort()
            for call in [*getattr(oldest, "calls", ())]:
                call.cancel()

    def end(self, connection: H11Protocol) -> None:
        """Forget a connection. Idempotent."""
        if timer := self._open.pop(connection, None):
            timer.cancel()


def _counted(app: ASGIApp, connection: Any) -> ASGIApp:
    """Return an application whose calls a connection knows; one that is cancelled with it just ends."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        call = asyncio.current_task()
        connection.calls.add(call)
        try:
            await app(scope, receive, send)
        except asyncio.CancelledError:
            if not connection.transport.is_closing():
                raise
        finally:
            connection.calls.discard(call)

    return answer


def _with_lasting(app: ASGIApp, lasting: Callable[[], None], over: Callable[[], None]) -> ASGIApp:
    """Return an application that can say of a response that it is to last. When it is over time counts again."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        lasts: list[bool] = []

        def said() -> None:
            lasts.append(True)
            lasting()

        try:
            await app({**scope, LASTING: said}, receive, send)
        finally:
            if lasts:
                over()

    return answer


def _sockets() -> type[asyncio.Protocol]:
    """Return the protocol of WebSockets. What is left for one that does not take it is let go in a while."""
    with importing_extras("channels"):
        from uvicorn.protocols.websockets.websockets_sansio_impl import (  # noqa: PLC0415 - it needs that extra
            WebSocketsSansIOProtocol,
        )

    class Sockets(WebSocketsSansIOProtocol):
        async def run_asgi(self) -> None:
            try:
                await super().run_asgi()
            finally:
                self.loop.call_later(IDLE_SECONDS, self.transport.abort)

    return Sockets


@asynccontextmanager
async def serving(
    app: ASGIApp,
    port: int,
    *,
    host: str = LOOPBACK,
    connections: Connections | None = None,
    sockets: bool = False,
) -> AsyncIterator[int]:
    """Serve `app` while the body runs, its WebSockets too if `sockets`; yield the port, a free one for port 0.

    Raises ConfigurationError if the port can't be had.
    """
    http = (Connections() if connections is None else connections).protocol()
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=http,
        interface="asgi3",
        log_level="warning",
        lifespan="off",
        backlog=MOST_CONNECTIONS,
        timeout_graceful_shutdown=CLOSING_SECONDS,
        ws=_sockets() if sockets else "none",
        ws_max_size=MOST_FRAME,
        ws_per_message_deflate=False,  # what is small so may be large
    )
    server = _Server(config)
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigurationError(
            f"can't listen at {host} port {port} ({error.strerror}): choose another --http-port or --http-host, "
            "for a gateway AGENTBUS_GATEWAY_PORT or AGENTBUS_GATEWAY_HOST, for the HTTP API AGENTBUS_API_PORT or "
            "AGENTBUS_API_HOST"
        ) from None
    with listening:  # uvicorn closes it too, unless it is cancelled
        task = asyncio.create_task(server.serve([listening]))
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            await task
