"""redis-py's two clients, cut down to what the store asks of both. The only place that knows which one it is.

They ask nothing twice by themselves: what became of a call whose connection was lost is not known, and whoever made it
looks. Connections speak RESP2: with RESP3 redis-py gives out one that has an unread answer in it, as it may be a push.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, Final

from redis.asyncio import Connection, ConnectionPool, Redis, RedisCluster, SSLConnection
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, RedisError, ResponseError, TimeoutError  # noqa: A004 - its names

from agentbus.storage.redis.address import Address

CONNECTIONS: Final = 16
"""How many calls of a process are on their way at once, each over a connection of its own."""

CONNECT_SECONDS: Final = 3.0
"""Within this time a connection is there, or the server is not."""

ANSWER_SECONDS: Final = 10.0
"""Seconds that a command waits for its answer. Then its connection is closed: what became of it is not known."""

IDLE_SECONDS: Final = 30.0
"""A connection that nobody used for longer is tried first: a firewall or a restart may have ended it."""


class Client(ABC):
    """Connections to a server, or to those of a cluster."""

    @abstractmethod
    async def ask(self, *command: Any) -> Any:
        """Send a command to where its keys are and return the answer."""

    @abstractmethod
    async def ask_all(self, *command: Any) -> list[Any]:
        """Send a command that has no keys to all servers that take writes, and return their answers.

        One of them may be the ResponseError by which its server refuses.
        """

    @abstractmethod
    async def let_go(self) -> None:
        """Close the connections that are not in use: their server does not take writes any more."""

    @abstractmethod
    async def close(self) -> None:
        """Close all connections."""


class OneServer(Client):
    """A single server, or the primary that a name stands for."""

    def __init__(self, address: Address) -> None:
        kind = SSLConnection if address.encrypted else Connection
        [host] = address.hosts
        settings = _settings(address) | dict(address.tls)
        self._pool = ConnectionPool(
            connection_class=kind,
            max_connections=CONNECTIONS,
            host=host.name,
            port=host.port,
            db=address.database,
            **settings,
        )
        self._client = Redis(connection_pool=self._pool)

    async def ask(self, *command: Any) -> Any:
        try:
            return await self._client.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py left it out
        except (ConnectionError, TimeoutError):
            await self.let_go()  # What one lost, the others that nobody uses may have lost too.
            raise

    async def ask_all(self, *command: Any) -> list[Any]:
        return [await _answer(self.ask(*command))]

    async def let_go(self) -> None:
        with suppress(RedisError, OSError):  # Of closing a connection that is lost: it is closed.
            await self._pool.disconnect(inuse_connections=False)

    async def close(self) -> None:
        with suppress(RedisError, OSError):  # As above.
            await self._pool.disconnect()


class Cluster(Client):
    """The servers of a cluster."""

    def __init__(self, address: Address) -> None:
        nodes = [ClusterNode(host.name, host.port) for host in address.hosts]
        settings = _settings(address) | ({"ssl": True, **address.tls} if address.encrypted else {})
        self._client = RedisCluster(startup_nodes=nodes, max_connections=2 * CONNECTIONS, **settings)

    async def ask(self, *command: Any) -> Any:
        return await self._client.execute_command(*command)

    async def ask_all(self, *command: Any) -> list[Any]:
        await self._client.initialize()
        primaries = self._client.get_primaries()
        return [await _answer(self._client.execute_command(*command, target_nodes=[one])) for one in primaries]

    async def let_go(self) -> None:
        await self._client.aclose()  # It finds out anew who the servers are when it is used again.

    async def close(self) -> None:
        with suppress(RedisError, OSError):  # The same.
            await self._client.aclose()


async def _answer(call: Awaitable[Any]) -> Any:
    try:
        return await call
    except ResponseError as error:
        return error


def _settings(address: Address) -> dict[str, Any]:
    return {
        "username": address.user,
        "password": address.password,
        "protocol": 2,
        "client_name": "agentbus",
        "driver_info": None,
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": ANSWER_SECONDS,
        "socket_keepalive": True,
        "health_check_interval": IDLE_SECONDS,
        "retry": Retry(NoBackoff(), 0),
    }


def client_for(address: Address) -> Client:
    """Return a client, which reaches for the server with the first command. Made inside the loop that uses it."""
    return Cluster(address) if address.cluster else OneServer(address)
