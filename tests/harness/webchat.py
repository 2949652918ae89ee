"""A web chat without a server: gateways on one in-process AgentBus, and windows that speak ASGI to them."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

from starlette.types import ASGIApp

from agentbus.client import AgentBus
from agentbus.composition.app import App
from agentbus.composition.running import embedded
from agentbus.contracts.address import Address, conversation_id_for
from agentbus.contracts.commands import CommandReply, CreateSession, SendReply
from agentbus.contracts.errors import SessionNotFound
from agentbus.contracts.messages import OutboundMessage, TextContent
from agentbus.settings import load_settings
from agentbus.workers.adapters.factory import accounts_in
from agentbus.workers.adapters.port import Hosting
from agentbus.workers.adapters.webchat.account import WebChatAccount
from agentbus.workers.adapters.webchat.pages import WebChat
from agentbus.workers.adapters.webchat.tokens import PLATFORM, visitor_token
from agentbus.workers.adapters.webchat.visits import Limits
from agentbus.workers.concurrency import ended
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.gateway.app import Gateway
from agentbus.workers.gateway.intake import Intake
from agentbus.workers.gateway.listening import Listening
from tests.harness.patience import PATIENCE

SECRET: Final = "0123456789abcdef0123456789abcdef"  # noqa: S105 - nobody's
ORIGIN: Final = "https://shop.example"
ACCOUNT: Final[Mapping[str, Any]] = {"secret": SECRET, "origins": [ORIGIN], "anonymous": True, "title": "The <Shop>"}
HOST: Final = "gateway"

Message = MutableMapping[str, Any]


def token(visitor: str = "ann", **more: Any) -> str:
    """Return the token of a visitor of the account `shop`."""
    return visitor_token(SECRET, account="shop", visitor=visitor, **more)


def place_of(visitor: str = "ann", chat: str | None = None) -> Address:
    """Return where a visitor writes from."""
    return Address(platform=PLATFORM, account="shop", chat=chat or visitor, user=visitor)


class Window:
    """A connection to a gateway: a WebSocket, or a stream of events."""

    def __init__(
        self, app: ASGIApp, path: str = "socket", *, headers: Mapping[str, str] | None = None, query: str = ""
    ) -> None:
        kind = "websocket" if path == "socket" else "http"
        told = {"host": HOST, **(headers or {})}
        self._scope: Message = {
            "type": kind,
            "method": "GET",
            "scheme": "ws" if kind == "websocket" else "http",
            "path": f"/channels/webchat/shop/{path}",
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in told.items()],
            "subprotocols": [],
        }
        self._app = app
        self._to_it: asyncio.Queue[Message] = asyncio.Queue()
        self._from_it: asyncio.Queue[Message] = asyncio.Queue()
        self.reading = asyncio.Event()
        """While it is not set the window takes nothing."""
        self.reading.set()
        self._task: asyncio.Task[None] | None = None
        self._killed = False
        self.status: int | None = None
        self.code: int | None = None

    async def __aenter__(self) -> Self:
        async def send(message: Message) -> None:
            await self.reading.wait()
            self._from_it.put_nowait(message)

        if self._scope["type"] == "websocket":
            self._to_it.put_nowait({"type": "websocket.connect"})
        self._task = asyncio.create_task(self._run(send))
        return self

    async def _run(self, send: Any) -> None:
        try:
            await self._app(self._scope, self._to_it.get, send)
        finally:
            self._from_it.put_nowait({"type": "over"})

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.vanish()

    async def vanish(self) -> None:
        """Go away, and wait until the gateway has seen it; what failed there is raised here. Idempotent."""
        self.reading.set()
        kind = "websocket.disconnect" if self._scope["type"] == "websocket" else "http.disconnect"
        self._to_it.put_nowait({"type": kind, "code": 1006})
        if self._task and not self._killed:
            await asyncio.wait_for(self._task, PATIENCE)

    async def kill(self) -> None:
        """Let the gateway's end of it die, as with kill -9."""
        self._killed = True
        await ended([self._task] if self._task else [])

    def send(self, frame: object) -> None:
        """Send JSON; text as it is, and bytes as a binary frame."""
        match frame:
            case bytes():
                self._to_it.put_nowait({"type": "websocket.receive", "bytes": frame})
            case str():
                self._to_it.put_nowait({"type": "websocket.receive", "text": frame})
            case _:
                self._to_it.put_nowait({"type": "websocket.receive", "text": json.dumps(frame)})

    def say(self, text: str, own: str) -> None:
        """Write a message."""
        self.send({"type": "message", "id": own, "text": text})

    async def next(self) -> dict[str, Any]:
        """Return the next frame; `{}` once the connection is over, whose status or code is kept."""
        async with asyncio.timeout(PATIENCE):
            while True:
                message = await self._from_it.get()
                match message["type"]:
                    case "websocket.send":
                        return dict(json.loads(message["text"]))
                    case "websocket.close":
                        self.code = message["code"]
                    case "http.response.start":
                        self.status = message["status"]
                    case "http.response.body" if (data := _data_of(message["body"])) is not None:
                        return data
                    case "over":
                        return {}

    async def until(self, kind: str) -> dict[str, Any]:
        """Return the next frame of a type; `{}` once the connection is over."""
        while (frame := await self.next()) and frame["type"] != kind:
            continue
        return frame

    async def until_said(self, text: str) -> list[str]:
        """Return what is shown up to a message that says this: that of an opening too."""
        found: list[str] = []
        while text not in found:
            frame = await self.next()
            assert frame, f"the connection ended ({self.code or self.status}) after {found}"
            if frame["type"] == "opening":
                found += [one["text"] for one in frame["messages"]]
            elif frame["type"] == "message":
                found.append(frame["message"]["text"])
        return found


def _data_of(body: bytes) -> dict[str, Any] | None:
    lines = [line.removeprefix("data: ") for line in body.decode().splitlines() if line.startswith("data: ")]
    return dict(json.loads(lines[0])) if lines else None


@dataclass
class House:
    """An AgentBus, and gateways before it."""

    app: App
    client: AgentBus
    gateways: list[Gateway] = field(default_factory=list)
    listening: list[Listening] = field(default_factory=list)

    async def reply(self, text: str, visitor: str = "ann", *, chat: str | None = None) -> CommandReply:
        """Have the bot say something to a visitor."""
        where = place_of(visitor, chat)
        said = OutboundMessage(address=where, content=TextContent(text=text))
        try:
            return await self.client.send(SendReply(address=where, message=said))
        except SessionNotFound:
            await self.client.send(CreateSession(address=where))
            return await self.client.send(SendReply(address=where, message=said))

    @asynccontextmanager
    async def window(
        self, visitor: str = "ann", *, gateway: int = 0, place: str = "", chat: str | None = None
    ) -> AsyncIterator[Window]:
        """Open a window of a visitor at one of the gateways."""
        async with Window(self.gateways[gateway].app) as window:
            window.send({"type": "hello", "token": token(visitor, chat=chat), "place": place})
            yield window

    @asynccontextmanager
    async def stream(
        self, visitor: str = "ann", *, gateway: int = 0, place: str = "", **headers: str
    ) -> AsyncIterator[Window]:
        """Open a stream of a visitor at one of the gateways."""
        told = {"authorization": f"Bearer {token(visitor)}", **headers}
        async with Window(self.gateways[gateway].app, "events", headers=told, query=f"place={place}") as window:
            yield window


@asynccontextmanager
async def house(
    *, gateways: int = 1, limits: Limits | None = None, rate: float = 1e6, **settings: Any
) -> AsyncIterator[House]:
    """Run an AgentBus with so many gateways that host the account `shop`."""
    async with AsyncExitStack() as stack:
        opened = load_settings(amqp_url="memory://", store_url="memory://", partitions=4, **settings)
        app = await stack.enter_async_context(embedded(opened))
        built = House(app, AgentBus(app.bus, scope=opened.session.scope))
        for _ in range(gateways):
            gateway, listening = _gateway(app, limits, rate)
            await listening.start()
            stack.push_async_callback(listening.close)
            gateway.open()
            stack.push_async_callback(gateway.drain, 1.0)
            built.gateways.append(gateway)
            built.listening.append(listening)
        yield built


def _gateway(app: App, limits: Limits | None, rate: float) -> tuple[Gateway, Listening]:
    scope = app.settings.session.scope
    inputs, accounts = Inputs(app.bus, scope=scope), accounts_in({"webchat": {"shop": ACCOUNT}})
    gateway = Gateway(Intake(inputs, accounts, rate=rate), clock=app.clock, max_body=1_000_000, metrics=app.metrics)
    listening = Listening(app.bus, "webchat", scope)
    hosting = Hosting(
        receive=partial(gateway.receive, "webchat"),
        take=partial(gateway.take, "webchat"),
        heard=listening.to,
        conversation_of=partial(conversation_id_for, scope=scope),
        store=app.store,
        clock=app.clock,
    )
    gateway.host("webchat", WebChat({"shop": WebChatAccount(**ACCOUNT)}, hosting, limits=limits))
    return gateway, listening
