"""The HTTP API in this process: over an AgentBus with a session worker, called as by ASGI."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from agentbus.composition.app import App
from agentbus.composition.running import embedded
from agentbus.http.app import Api
from agentbus.operations.api_keys import Role, create_key
from agentbus.settings import load_settings

HERE = "http://127.0.0.1:8090"


class World:
    """An API, and keys for it."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.api = Api(app)

    async def key(self, *roles: Role, **given: Any) -> str:
        """Make a key."""
        return (await create_key(self.app.store, self.app.clock, "a test's", roles, **given))[1]

    def caller(self, key: str | None = None, *, user: str | None = None, host: str = "127.0.0.1") -> httpx.AsyncClient:
        """Return a client that calls with a key, or without one."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        headers |= {"X-AgentBus-User": user} if user else {}
        transport = httpx.ASGITransport(self.api.app, client=(host, 4711))
        return httpx.AsyncClient(transport=transport, base_url=HERE, headers=headers)


@asynccontextmanager
async def api_world(**settings: Any) -> AsyncIterator[World]:
    """Open one."""
    given = {"amqp_url": "memory://", "store_url": "memory://", "partitions": 4, "api_rate": 10_000.0, **settings}
    async with embedded(load_settings(**given)) as app:
        yield World(app)


def a_message(text: str = "hello", *, user: str = "ann", **fields: Any) -> dict[str, Any]:
    """Return the body of a message's publishing."""
    address = {"platform": "web", "chat": "lobby", "user": user}
    return {"address": address, "content": {"kind": "text", "text": text}, **fields}
