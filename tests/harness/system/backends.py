"""A private broker and store: started once, used by one world after the other."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Self
from urllib.parse import unquote, urlsplit

from tests.services import (
    LOOPBACK,
    LocalMongoDB,
    LocalRabbitMQ,
    MongoDB,
    RabbitMQ,
    RedisServer,
    SqlServer,
    form_replica_set,
    private_mariadb,
    private_mongodb,
    private_postgresql,
    private_rabbitmq,
    private_redis,
)

Address = tuple[str, int]

_NODES: Final = 3

StoreServer = MongoDB | SqlServer | RedisServer

STORES: Final[Mapping[str, Callable[[], StoreServer]]] = {
    "mongodb": private_mongodb,
    "postgresql": private_postgresql,
    "mariadb": private_mariadb,
    "redis": private_redis,
}
"""What starts a server of each kind of store."""


class Kind(StrEnum):
    """How many servers stand behind a URL."""

    SINGLE = "single"
    """One of each."""
    RABBITMQ_CLUSTER = "rabbitmq cluster"
    """Three brokers in one cluster."""
    REPLICA_SET = "replica set"
    """Three MongoDB servers in one replica set."""


@dataclass(frozen=True, slots=True)
class Backends:
    """A virtual host and a database, and the servers that they live on."""

    amqp_url: str
    store_url: str
    brokers: Sequence[RabbitMQ]
    stores: Sequence[StoreServer]

    @property
    def broker(self) -> RabbitMQ:
        """The first, or only, broker."""
        return self.brokers[0]

    @property
    def store(self) -> StoreServer:
        """The first, or only, server of the store."""
        return self.stores[0]

    @property
    def vhost(self) -> str:
        """The virtual host's name."""
        return unquote(urlsplit(self.amqp_url).path.removeprefix("/"))

    @property
    def broker_addresses(self) -> list[Address]:
        """Where the brokers listen."""
        return [_address(broker.url) for broker in self.brokers]

    @property
    def store_address(self) -> Address:
        """Where the first store listens."""
        return _address(self.store.url)

    def amqp_url_at(self, port: int) -> str:
        """Return the broker's URL with another port of this machine: a proxy's."""
        return _at(self.amqp_url, port)

    def store_url_at(self, port: int) -> str:
        """Return the store's URL with another port of this machine: a proxy's."""
        return _at(self.store_url, port)


@dataclass
class Services:
    """Starts what is asked for when it is first asked for, and ends everything at the end."""

    backend: str = "mongodb"
    """The kind of store, one of `STORES`; a replica set is MongoDB's alone."""
    _stack: ExitStack = field(default_factory=ExitStack)
    _brokers: dict[int, list[RabbitMQ]] = field(default_factory=dict)
    _stores: dict[int, list[StoreServer]] = field(default_factory=dict)

    @classmethod
    def on(cls, broker: RabbitMQ, store: StoreServer) -> Self:
        """Return services that are somebody else's: not to be broken, and not ended here."""
        return cls(_brokers={1: [broker]}, _stores={1: [store]})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @contextmanager
    def fresh(self, kind: Kind = Kind.SINGLE) -> Iterator[Backends]:
        """Give a new virtual host and a new database; servers that were left dead or frozen are revived."""
        brokers = self._brokers_of(_NODES if kind is Kind.RABBITMQ_CLUSTER else 1)
        stores = self._stores_of(_NODES if kind is Kind.REPLICA_SET else 1)
        for server in (*brokers, *stores):
            server.start()
        with ExitStack() as stack:
            amqp_url = stack.enter_context(brokers[0].fresh_vhost())
            if kind is Kind.REPLICA_SET:
                store_url = _replica_set_url(stores)
            else:
                store_url = stack.enter_context(stores[0].fresh_database())
            yield Backends(amqp_url, store_url, brokers, stores)

    def _brokers_of(self, count: int) -> list[RabbitMQ]:
        if count not in self._brokers:
            if count == 1:
                self._brokers[count] = [self._stack.enter_context(private_rabbitmq())]
            else:
                nodes = [self._stack.enter_context(LocalRabbitMQ()) for _ in range(count)]
                for node in nodes[1:]:
                    node.join(nodes[0])
                self._brokers[count] = list(nodes)
        return self._brokers[count]

    def _stores_of(self, count: int) -> list[StoreServer]:
        if count not in self._stores:
            if count == 1:
                server = STORES[self.backend]()
                self._stack.enter_context(server)
                self._stores[count] = [server]
            else:
                members = [self._stack.enter_context(LocalMongoDB(replica_set="chaos")) for _ in range(count)]
                form_replica_set(*members)
                self._stores[count] = list(members)
        return self._stores[count]


_sets = iter(range(1, 1_000_000))


def _replica_set_url(members: Sequence[StoreServer]) -> str:
    hosts = ",".join(f"{host}:{port}" for host, port in (_address(member.url) for member in members))
    return f"mongodb://{hosts}/agentbus_chaos_{next(_sets)}?replicaSet=chaos"


def _address(url: str) -> Address:
    parts = urlsplit(url)
    assert parts.port
    return parts.hostname or LOOPBACK, parts.port


def _at(url: str, port: int) -> str:
    parts = urlsplit(url)
    login = parts.netloc.rpartition("@")[0]
    return parts._replace(netloc=f"{login}@{LOOPBACK}:{port}" if login else f"{LOOPBACK}:{port}").geturl()
