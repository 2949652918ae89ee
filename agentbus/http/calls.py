"""What every call of the HTTP API is declared with: the role that it needs, and whether it is made for users too."""

import asyncio
import re
from collections.abc import Callable, Coroutine, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Final, TypeVar

from fastapi import APIRouter, Depends, Header
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message

from agentbus.client import AgentBus
from agentbus.composition.app import App
from agentbus.contracts.base import MAX_INTEGER, Contract
from agentbus.contracts.errors import SchemaViolation, TooLarge
from agentbus.contracts.operators import Operator
from agentbus.http.access import Caller
from agentbus.http.problems import Ending, Problem, TooSlow
from agentbus.http.streams import Holds, Streams
from agentbus.operations.api_keys import Role
from agentbus.operations.jobs import Jobs
from agentbus.sessions.config import ManagerOptions
from agentbus.sessions.engine import Engine
from agentbus.sessions.manager import SessionManager
from agentbus.sessions.sections.shared import Commands
from agentbus.sessions.sections.tokens import Fences

BODY_SECONDS: Final = 10.0
"""Seconds that a body may take to come."""

MOST_MEMBERS: Final = 50_000
"""About as many members of JSON objects as a body may have: of all that are wrong pydantic makes an error each."""

_MEMBER: Final = re.compile(rb'"\s*:')

MOST_HELD: Final = 64 * 1024 * 1024
"""Bytes of bodies that are held at once, of all calls together."""

ROLE: Final = "x-agentbus-role"
FOR_USERS: Final = "x-agentbus-for-users"
"""Under these names the OpenAPI document says of each call which role it needs, and whether users may make it."""

_PROBLEM: Final = {
    "model": Problem,
    "description": "What is wrong (RFC 9457).",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}

Model = TypeVar("Model", bound=BaseModel)
Handler = TypeVar("Handler", bound=Callable[..., Coroutine[Any, Any, Response]])


@dataclass(slots=True)
class Bodies:
    """What is held of bodies that come, of all calls together."""

    largest: int
    seconds: float = BODY_SECONDS
    most_held: int = MOST_HELD
    held: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What calls are carried out with."""

    app: App
    client: AgentBus
    engine: Engine
    sessions: SessionManager
    bodies: Bodies
    streams: Streams
    jobs: Jobs
    commands: Commands
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the server is about to end: whoever answers for long ends their answer then."""

    def done_by(self, operator: Operator | None) -> "Parts":
        """Return what calls of somebody are carried out with: audit trails say who has what they change done."""
        if operator is None:
            return self
        client = AgentBus(self.app.bus, scope=self.engine.scope, by=operator)
        engine = Engine(client, self.app.store, self.engine.scope, self.engine.call_timeout)
        sessions = SessionManager(engine, ManagerOptions(), clock=self.app.clock)
        commands = Commands(engine, Fences(engine, self.app.clock))
        app = replace(self.app, by=operator)
        return replace(self, app=app, client=client, engine=engine, sessions=sessions, commands=commands)


def _shared(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


def _who(request: Request) -> Caller:
    caller: Caller = request.scope["state"]["caller"]
    return caller


# Coroutine functions, though they wait for nothing: others are called in a thread of their own, each time.


async def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts_of(_who(request).by)
    return parts


async def _caller(request: Request) -> Caller:
    return _who(request)


async def _holds(request: Request) -> Holds:
    holds: Holds = request.scope["state"]["holds"]
    return holds


With = Annotated[Parts, Depends(_parts)]
By = Annotated[Caller, Depends(_caller)]
StillBy = Annotated[Holds, Depends(_holds)]
"""What tells, of a call that lasts, whether who made it still may."""


IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="Makes the call safe to repeat: what is sent twice with it is carried out once.",
    ),
]


Fence = Annotated[
    int | None,
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MAX_INTEGER}),  # a header is there or not, never null
    Header(
        alias="X-AgentBus-Fence",
        ge=1,
        le=MAX_INTEGER,
        description="The token of the session's lock that is held: refused once a later holder has written (409).",
    ),
]


class Given(Contract):
    """The body of a call. FastAPI needs it built."""

    model_config = ConfigDict(defer_build=False)


class Query(BaseModel):
    """What may stand in a call's query: nothing else."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Paged(Query):
    """A page of a list."""

    limit: int = Field(default=50, ge=1, le=1000, description="Items on the page.")
    after: str | None = Field(default=None, max_length=2048, description="The `cursor` of the page before.")


class Call(APIRoute):
    """A call that is looked at before anything of its body is read: who makes it, and what stands in its query."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        declared: dict[str, Any] = self.openapi_extra or {}
        role, for_users = Role(declared[ROLE]), bool(declared[FOR_USERS])
        known = frozenset(_names_in_query(self))

        async def checked(request: Request) -> Response:
            _who(request).check(role, for_users=for_users)
            parts = _shared(request)
            if unknown := sorted(request.query_params.keys() - known):
                raise SchemaViolation(f"unknown in the query: {', '.join(unknown)}"[:200])
            body = bytearray()
            try:
                await _read(request, body, parts.bodies)
                if len(_MEMBER.findall(body)) > MOST_MEMBERS:
                    raise TooLarge(f"a body has about {MOST_MEMBERS} members of objects at most")
                return await handle(Request(request.scope, _replaying(bytes(body))))
            finally:
                parts.bodies.held -= len(body)

        return checked


class Calls(APIRouter):
    """Calls about one subject."""

    def __init__(self, tag: str) -> None:
        super().__init__(prefix="/v1", tags=[tag], route_class=Call)

    def call(
        self,
        method: str,
        path: str,
        role: Role,
        *,
        answers: Any,
        status: int = 200,
        for_users: bool = False,
        others: dict[int | str, dict[str, Any]] | None = None,
    ) -> Callable[[Handler], Handler]:
        """Return a decorator that makes a function the call `method path`.

        `answers` is the model of its answer, None for one without a body; `others` are more answers that it may give.
        """

        def register(handler: Handler) -> Handler:
            self.add_api_route(
                path,
                handler,
                methods=[method],
                status_code=status,
                response_model=answers,
                operation_id=handler.__name__,
                summary=(handler.__doc__ or "").partition("\n")[0],
                responses={"default": _PROBLEM, **(others or {})},
                openapi_extra={ROLE: role.value, FOR_USERS: for_users},
            )
            return handler

        return register


def answered(model: BaseModel, status: int = 200, **headers: str) -> Response:
    """Return a model as an answer."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(model.model_dump_json(), int(status), named, media_type="application/json")


def _names_in_query(route: APIRoute) -> Iterator[str]:
    """Yield the names that may stand in the query of a call."""
    for one in route.dependant.query_params:
        kind = one.field_info.annotation
        if isinstance(kind, type) and issubclass(kind, Query):
            yield from (field.alias or name for name, field in kind.model_fields.items())
        else:
            yield one.alias


async def _read(request: Request, body: bytearray, bodies: Bodies) -> None:
    """Read the body. Raises TooLarge, TooSlow, Ending if too many bytes are held for others."""
    told = request.headers.get("content-length", "0")
    if not told.isdecimal() or len(told) > 15 or int(told) > bodies.largest:
        raise TooLarge(f"a body has {bodies.largest} bytes at most")
    try:
        async with asyncio.timeout(bodies.seconds), aclosing(request.stream()) as chunks:
            async for chunk in chunks:
                body += chunk
                bodies.held += len(chunk)
                if len(body) > bodies.largest:
                    raise TooLarge(f"a body has {bodies.largest} bytes at most")
                if bodies.held > bodies.most_held:
                    raise Ending("too much is being read at the moment")
    except (TimeoutError, ClientDisconnect):
        raise TooSlow from None


def _replaying(body: bytes) -> Callable[[], Coroutine[Any, Any, Message]]:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
