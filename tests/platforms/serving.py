"""The fake platforms as a server: over sockets, where a connection can end before its answer."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from agentbus.composition.probes import Connections, serving
from agentbus.contracts.urls import LOOPBACK
from tests.platforms.model import API, FakePlatform

_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
_CONNECTIONS: Final = 1000
_DROP: Final = "drop"
"""What ends a connection at once, among the extensions of a request's scope."""


@asynccontextmanager
async def served(platforms: Sequence[FakePlatform]) -> AsyncIterator[str]:
    """Serve platforms at `/NAME` each, while the body runs; yield the address before that."""
    by_name = {one.name: one for one in platforms}

    async def answer(request: Request) -> Response:
        platform = by_name[request.path_params["name"]]
        query = f"?{request.url.query}" if request.url.query else ""
        asked = httpx.Request(
            request.method,
            f"{API}/{request.path_params['rest']}{query}",
            headers=request.headers.raw,
            content=await request.body(),
        )
        try:
            answered = await platform.handle(asked)
        except httpx.TransportError:
            return await _dropped(request)
        return Response(answered.content, answered.status_code, dict(answered.headers))

    app = Starlette(routes=[Route("/{name}/{rest:path}", answer, methods=_METHODS)])
    async with serving(app, 0, connections=_Droppable(most=_CONNECTIONS)) as port:
        yield f"http://{LOOPBACK}:{port}"


async def _dropped(request: Request) -> Response:
    """End the connection of a request; what is returned nobody gets."""
    request.scope["extensions"][_DROP]()
    while not await request.is_disconnected():
        await request.receive()
    return Response()


class _Droppable(Connections):
    """Connections that an application can end."""

    def protocol(self) -> type[H11Protocol]:
        kept = super().protocol()

        class Droppable(kept):  # type: ignore[valid-type, misc] # it is made while the program runs
            def connection_made(self, transport: asyncio.Transport) -> None:
                super().connection_made(transport)
                inner: ASGIApp = self.app  # type: ignore[has-type] # as the line above

                async def app(scope: Scope, receive: Receive, send: Send) -> None:
                    scope.setdefault("extensions", {})[_DROP] = transport.abort
                    await inner(scope, receive, send)

                self.app = app

        return Droppable
