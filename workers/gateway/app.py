"""The gateway's web application: bodies within limits, and answers that platforms understand."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Final

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.requests import Request as Http
from starlette.responses import Response
from starlette.routing import Mount, Route

from agentbus.contracts.clock import Clock
from agentbus.workers.adapters.port import Answer, Hosted, Request
from agentbus.workers.concurrency import side_by_side
from agentbus.workers.delivery.telemetry import WorkerMetrics
from agentbus.workers.delivery.under_way import UnderWay
from agentbus.workers.gateway.intake import RETRY_SECONDS, Intake, Outcome, Taken

BODY_SECONDS: Final = 10.0
"""Seconds that a body may take to come."""

MOST_HELD: Final = 32 * 1024 * 1024
"""Bytes of bodies that are held at once, of all requests together."""

_LATER: Final = frozenset({Outcome.UNAVAILABLE, Outcome.TOO_MANY})


class Gateway:
    """Serves `POST /channels/{name}/{account}`, and `GET` for the platforms that ask first whether we are there.

    A channel that is hosted has all below `/channels/{name}` to itself, and gives back what is posted.
    """

    def __init__(
        self,
        intake: Intake,
        *,
        clock: Clock,
        max_body: int,
        metrics: WorkerMetrics | None = None,
        body_seconds: float = BODY_SECONDS,
        most_held: int = MOST_HELD,
    ) -> None:
        self._intake = intake
        self._clock = clock
        self._max_body = max_body
        self._metrics = metrics or WorkerMetrics()
        self._body_seconds = body_seconds
        self._most_held = most_held
        self._held = 0
        self._under_way = UnderWay()
        self._draining = False
        self._hosted: list[Hosted] = []
        self._metrics.channel_connections.set_function(lambda: sum(one.connected for one in self._hosted))
        self.app = Starlette(
            routes=[Route("/channels/{name}/{account}", self._receive, methods=["GET", "POST"])],
        )

    @property
    def draining(self) -> bool:
        """Whether it takes no more requests."""
        return self._draining

    def host(self, name: str, hosted: Hosted) -> None:
        """Serve a channel of its own, from the next `open` on."""
        self._hosted.append(hosted)
        self.app.router.routes.insert(0, Mount(f"/channels/{name}", routes=hosted.routes))

    def open(self) -> None:
        """Take requests."""
        self._draining = False
        for one in self._hosted:
            one.open()

    async def drain(self, within: float) -> None:
        """Take no more requests, send away who is connected, and wait `within` seconds for the requests under way."""
        self._draining = True
        await side_by_side(one.drain() for one in self._hosted)
        await self._under_way.over(within)

    async def _receive(self, http: Http) -> Response:
        return await self.receive(http.path_params["name"], http, http.path_params["account"])

    async def receive(self, name: str, http: Http, account: str) -> Response:
        """Take what is posted for an account of the channel `name`."""
        taken = await self._counted(name, account, partial(self._read_and_taken, http, name, account))
        answer = taken.answer
        headers = {"Retry-After": str(RETRY_SECONDS)} if taken.outcome in _LATER else {}
        return Response(answer.body, answer.status, headers, answer.media_type)

    async def take(self, name: str, account: str, request: Request) -> Answer:
        """Take a request that came by another way; its body is not looked at for its size."""
        taken = await self._counted(name, account, partial(self._intake.take, name, account, request))
        return taken.answer

    async def _counted(self, name: str, account: str, take: Callable[[], Awaitable[Taken]]) -> Taken:
        """Count what a request came to, while others wait for its end."""
        with self._under_way.one():
            if not self._intake.knows(name, account):
                taken = Taken.refused(Outcome.UNKNOWN)
            elif self._draining:
                taken = Taken.refused(Outcome.UNAVAILABLE)
            else:
                taken = await take()
        self._metrics.channel_requests.labels(taken.outcome).inc()
        return taken

    async def _read_and_taken(self, http: Http, name: str, account: str) -> Taken:
        body = bytearray()
        try:
            if refused := await self._read(http, body):
                return Taken.refused(refused)
            request = Request(
                body=bytes(body),
                headers=http.headers,
                query=http.query_params,
                method=http.method,
                received_at=self._clock.now(),
            )
            return await self._intake.take(name, account, request)
        finally:
            self._held -= len(body)

    async def _read(self, http: Http, body: bytearray) -> Outcome | None:
        """Read the body; return why it was not read to its end."""
        told = http.headers.get("content-length", "0")
        if not told.isdecimal() or len(told) > 15 or int(told) > self._max_body:
            return Outcome.TOO_LARGE
        try:
            async with asyncio.timeout(self._body_seconds), aclosing(http.stream()) as chunks:
                async for chunk in chunks:
                    body += chunk
                    self._held += len(chunk)
                    if len(body) > self._max_body:
                        return Outcome.TOO_LARGE
                    if self._held > self._most_held:
                        return Outcome.UNAVAILABLE
        except (TimeoutError, ClientDisconnect):
            return Outcome.TOO_SLOW
        return None
