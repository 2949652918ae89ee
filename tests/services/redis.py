"""Private Redis servers from a local program: one, or a cluster of three. Prefixes of keys keep tests apart."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit
from uuid import uuid4

import redis
from redis.exceptions import RedisError

from tests.services.local import LocalService
from tests.services.ports import LOOPBACK, free_port, listens
from tests.services.programs import redis_program
from tests.services.service import Service, wait_until

ANSWER_SECONDS = 2.0
"""Seconds that a server has to answer whether it is ready."""

SURE = {"appendfsync": "always"}
"""For a server that is going to be killed: what was answered is on its disk."""

_NODES = 3
_SLOTS = 16384

SETTINGS = {
    "bind": LOOPBACK,
    "appendonly": "yes",
    # Cheap, and nearly always written before it is answered; while the disk is slow a kill can lose two seconds.
    "appendfsync": "everysec",
    "save": "",
    "maxmemory-policy": "noeviction",
}


class RedisServer(Service):
    """A Redis server whose database 0 the tests use."""

    @property
    @abstractmethod
    def url(self) -> str:
        """The server's URL."""

    @contextmanager
    def fresh_database(self) -> Iterator[str]:
        """Give a URL with an unused prefix, whose keys are deleted afterwards; a server left dead is revived."""
        self.start()
        prefix = f"agentbus_test_{uuid4().hex[:12]}"
        yield f"{self.url}?prefix={prefix}"
        self.start()
        delete_all(self.client(), prefix)

    def client(self) -> Any:
        """Return a client that waits for answers."""
        return redis.Redis.from_url(self.url, socket_timeout=ANSWER_SECONDS * 10, protocol=2)

    def answers(self) -> bool:
        """Whether it answers a client now, with all that it had; a paused one accepts connections and does not."""
        try:
            with redis.Redis.from_url(self.url, socket_timeout=ANSWER_SECONDS, retry=None) as client:
                return bool(client.ping())
        except RedisError:
            return False


def delete_all(client: Any, prefix: str) -> None:
    """Delete all keys of a prefix, and close the client."""
    try:
        for key in client.scan_iter(f"{prefix}:*", count=1000):
            client.unlink(key)
    finally:
        client.close()


class LocalRedis(RedisServer, LocalService):
    """A server of our own; `settings` are added to what it is started with, or replace it."""

    name: ClassVar[str] = "redis-server"

    def __init__(self, **settings: str) -> None:
        self._settings = SETTINGS | settings
        self._path = str(redis_program("redis-server"))
        super().__init__()

    @property
    def url(self) -> str:
        return f"redis://{LOOPBACK}:{self.port}/0"

    def command(self) -> Sequence[str]:
        given = {"port": str(self.port), "dir": str(self.folder)} | self._settings
        return [self._path, *(part for name, value in given.items() for part in (f"--{name}", value))]

    def ready(self) -> bool:
        return listens(self.port) and self.answers()


class _Node(LocalRedis):
    """A server of a cluster."""

    def __init__(self) -> None:
        self.bus = free_port()
        settings = {"cluster-enabled": "yes", "cluster-port": str(self.bus), "cluster-node-timeout": "5000"}
        super().__init__(**settings, **SURE)


class LocalRedisCluster:
    """Three servers that share what there is."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.nodes: list[_Node] = []

    def __enter__(self) -> Self:
        try:
            self.nodes = [self._stack.enter_context(_Node()) for _ in range(_NODES)]
            self._form()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        """The URL of the cluster."""
        return f"redis+cluster://{','.join(urlsplit(node.url).netloc for node in self.nodes)}"

    @contextmanager
    def fresh_database(self) -> Iterator[str]:
        """Give a URL with an unused prefix, whose keys are deleted afterwards."""
        prefix = f"agentbus_test_{uuid4().hex[:12]}"
        yield f"{self.url}?prefix={prefix}"
        for node in self.nodes:
            delete_all(node.client(), prefix)

    def _form(self) -> None:
        first = self.nodes[0]
        for number, node in enumerate(self.nodes):
            bounds = _SLOTS * number // _NODES, _SLOTS * (number + 1) // _NODES - 1
            with node.client() as client:
                client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", *bounds)
                if node is not first:
                    client.execute_command("CLUSTER", "MEET", LOOPBACK, first.port, first.bus)
        wait_until(lambda: all(map(_knows_all, self.nodes)), what="the cluster", seconds=60.0)


def _knows_all(node: _Node) -> bool:
    with node.client() as client:
        told = client.execute_command("CLUSTER", "INFO")
        slots = client.execute_command("CLUSTER", "SLOTS")
    state = told["cluster_state"] if isinstance(told, dict) else "ok" if b"cluster_state:ok" in told else "fail"
    return state == "ok" and len(slots) == _NODES
