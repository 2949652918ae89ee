"""The HTTP API, put together: calls, who may make them, what they may bring, and how failures are told."""

from functools import lru_cache, partial
from http import HTTPStatus
from typing import Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agentbus.client import AgentBus
from agentbus.composition.app import App
from agentbus.contracts.errors import AgentBusError, SchemaViolation
from agentbus.contracts.members import WorkerKind
from agentbus.contracts.telemetry import Action
from agentbus.http.access import Caller, Doorkeeper, is_loopback
from agentbus.http.calls import Bodies, Call, Parts
from agentbus.http.openapi import described
from agentbus.http.problems import (
    BodyUnreadable,
    Ending,
    NoSuchMethod,
    NotThere,
    Refusal,
    ServerFault,
    answer_of,
    status_of,
    wrong_fields,
)
from agentbus.http.routes import ROUTERS
from agentbus.http.streams import Streams
from agentbus.http.tokens import Tokens
from agentbus.operations.api_keys import without_keys
from agentbus.operations.jobs import Jobs
from agentbus.sessions.config import ManagerOptions
from agentbus.sessions.engine import Engine
from agentbus.sessions.manager import SessionManager
from agentbus.sessions.sections.shared import Commands
from agentbus.sessions.sections.tokens import Fences
from agentbus.storage.log_lines import Logger
from agentbus.workers.concurrency import raise_if_cancelled
from agentbus.workers.delivery.trace_contexts import cause_in, traces
from agentbus.workers.delivery.under_way import UnderWay
from agentbus.workers.faults import told
from agentbus.workers.following.live import Live
from agentbus.workers.release import release

CALL_SECONDS: Final = 10.0
"""Seconds for which a command is sent again while its owner does not answer."""

_OPERATORS: Final = 100
"""Of whom what their calls are carried out with is kept: making it takes a fifth of a millisecond."""

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_HEADERS: Final = (
    (b"cache-control", b"private, no-cache"),
    (b"x-content-type-options", b"nosniff"),
)

_log = Logger(__name__)


class Api:
    """The API over an AgentBus that somebody else opened."""

    def __init__(self, app: App) -> None:
        settings, client = app.settings.api, AgentBus(app.bus, scope=app.settings.session.scope)
        engine = Engine(client, app.store, app.settings.session.scope, CALL_SECONDS)
        self.parts = Parts(
            app=app,
            client=client,
            engine=engine,
            sessions=SessionManager(engine, ManagerOptions(), clock=app.clock),
            bodies=Bodies(settings.api_max_body),
            streams=Streams(
                Live(app.bus, app.store, app.clock, secret_keys=app.settings.session.secret_keys),
                most=settings.api_streams,
            ),
            commands=Commands(engine, Fences(engine, app.clock)),
            jobs=Jobs(app.store, app.clock, WorkerKind.BACKUP.group(app.bus.topology.prefix)),
        )
        tokens = Tokens(settings).caller_of if settings.api_jwt_issuer else None
        local = is_loopback(settings.api_host) and tokens is None
        self.doorkeeper = Doorkeeper(app.store, app.clock, local=local, rate=settings.api_rate, token=tokens)
        self.under_way = UnderWay()
        self.app = make_app()
        self.app.state.parts = self.parts
        self.app.state.parts_of = lru_cache(_OPERATORS)(self.parts.done_by)
        self.app.add_middleware(_Gate, api=self)

    @property
    def draining(self) -> bool:
        """Whether it takes no more calls."""
        return self.parts.ending.is_set()

    def open(self) -> None:
        """Take calls."""
        self.parts.ending.clear()
        self.parts.jobs.open()

    async def drain(self, within: float) -> None:
        """Take no more calls, and wait `within` seconds for those under way."""
        self.parts.ending.set()
        self.parts.streams.let_go()
        await self.under_way.over(within)


def make_app() -> FastAPI:
    """Return the application with all its calls, and nobody who guards them. Raises ValueError for one without role."""
    app = FastAPI(
        title="AgentBus",
        version=release(),
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    for router in ROUTERS:
        for route in router.routes:
            if not isinstance(route, Call):
                raise ValueError(f"{getattr(route, 'path', route)} names no role")
        app.include_router(router)
    app.openapi = lambda: described(app)  # type: ignore[method-assign] # FastAPI's documented way to say it otherwise
    app.add_exception_handler(AgentBusError, _told)
    app.add_exception_handler(RequestValidationError, _told_invalid)
    app.add_exception_handler(HTTPException, _told_http)
    return app


class _Gate:
    """Lets calls in whose callers are known, counts them, and answers what nobody foresaw."""

    def __init__(self, app: ASGIApp, api: Api) -> None:
        self._app = app
        self._api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return  # There are no WebSockets here, and nothing that begins or ends with the application.
        call = _Answer(send)
        headers = HTTPConnection(scope).headers
        cause = cause_in(headers.get("traceparent"))
        with self._api.under_way.one(), traces().serving(scope["method"], cause):
            try:
                if self._api.draining:
                    raise Ending
                caller = await self._api.doorkeeper.caller_of(HTTPConnection(scope))
                holds = partial(self._api.doorkeeper.still_holds, HTTPConnection(scope))
                scope.setdefault("state", {}).update(caller=caller, holds=holds)
                try:
                    await self._app(scope, receive, call.send)
                finally:
                    traces().served(_named(scope), call.status)
                    if scope["method"] not in _SAFE:
                        _note(caller, scope, call.status)
            except AgentBusError as error:
                raise_if_cancelled()
                _say(error)
                if call.status:
                    raise ServerFault from None  # The answer has begun: the connection is to end with it.
                await answer_of(error)(scope, receive, call.send)
            except Exception as error:
                raise_if_cancelled()
                _log.error(Action.API_FAILED, **told(error))
                if call.status:
                    raise ServerFault from None
                await answer_of(ServerFault())(scope, receive, call.send)


class _Answer:
    """An answer on its way."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            named = {name for name, _ in message["headers"]}
            message["headers"] = [*message["headers"], *(one for one in _HEADERS if one[0] not in named)]
        await self._send(message)


async def _told(_: Request, error: Exception) -> Response:
    if not isinstance(error, AgentBusError):
        raise error
    _say(error)
    return answer_of(error)


async def _told_invalid(_: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    wrong = wrong_fields(error.errors())
    return answer_of(SchemaViolation("; ".join(f"{one.at}: {one.what}" for one in wrong[:3])), wrong)


async def _told_http(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    match error.status_code:
        case HTTPStatus.NOT_FOUND:
            refusal: Refusal = NotThere()
        case HTTPStatus.METHOD_NOT_ALLOWED:
            refusal = NoSuchMethod()
        case _:
            refusal = BodyUnreadable()
    return answer_of(refusal, headers=error.headers)


def _say(error: AgentBusError) -> None:
    """Log what is wrong here: whoever called is not told."""
    if status_of(error) >= HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(error, Ending):
        _log.warning(Action.API_FAILED, code=error.code, **told(error))


def _note(caller: Caller, scope: Scope, status: int) -> None:
    """Log a change: who wanted it. The status is 0 where they went away before they were answered."""
    about = {name: without_keys(str(value)) for name, value in (scope.get("path_params") or {}).items()}
    _log.info(Action.API_CHANGED, call=_named(scope), by=caller.name, user=caller.user, about=about, status=status)


def _named(scope: Scope) -> str:
    """Return which call it is, as the document names it."""
    return f"{scope['method']} {getattr(scope.get('route'), 'path', 'unknown')}"
