"""Where a step of the tour is taken: a running session system of one mode, and the means to start more like it."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from pathlib import Path
from typing import Any, Final

from agentbus.sessions import SessionContext, SessionSystem, StorageType
from agentbus.sessions.config import make_config
from tests.harness.processes import running_worker
from tests.services import (
    MongoDB,
    RabbitMQ,
    RedisServer,
    SqlServer,
    shared_mariadb,
    shared_mongodb,
    shared_postgresql,
    shared_rabbitmq,
    shared_redis,
)

PARTITIONS: Final = 2
"""Few: an embedded system takes over each of them when it starts, and the tour starts many."""


class Mode(StrEnum):
    """How the session system is set up."""

    MEMORY = "memory"
    """Embedded, in memory."""
    FILES = "files"
    """Embedded, with JSON files."""
    SQLITE = "sqlite"
    """Embedded, with SQLite."""
    POSTGRESQL = "postgresql"
    """Embedded, with PostgreSQL."""
    MARIADB = "mariadb"
    """Embedded, with MariaDB."""
    REDIS = "redis"
    """Embedded, with Redis."""
    MONGODB = "mongodb"
    """Embedded, with MongoDB."""
    DISTRIBUTED = "distributed"
    """RabbitMQ, MongoDB, and a session worker as a process of its own."""


@dataclass(frozen=True)
class Place:
    """A mode, and the settings of a session system in it."""

    mode: Mode
    settings: dict[str, Any]
    folder: Path

    @property
    def shared(self) -> bool:
        """Whether two session systems here see the same sessions."""
        return self.mode is not Mode.MEMORY


@dataclass
class World:
    """The place of a tour with its session system; steps share it, and use names of their own."""

    place: Place
    manager: SessionSystem
    _numbers: "count[int]" = field(default_factory=count)

    def name(self, what: str = "user") -> str:
        """Return a name that nobody has used."""
        return f"{what}-{next(self._numbers)}"

    async def session(self, user: str | None = None, **arguments: Any) -> SessionContext:
        """Create a session in a chat of its own."""
        return await self.manager.create_session(self.name("chat"), user or self.name(), "telegram", **arguments)

    async def read(self, session_id: str) -> SessionContext:
        """Return a session as the store has it."""
        found = await self.manager.get_session(session_id)
        assert found is not None, f"session {session_id} is not there"
        return found

    @asynccontextmanager
    async def another(self, **settings: Any) -> AsyncIterator[SessionSystem]:
        """Run another session system in the same place, with more settings."""
        async with SessionSystem(make_config(**{**self.place.settings, **settings})) as system:
            yield system


Stores = Mapping[Mode, MongoDB | SqlServer | RedisServer]
"""The server of each mode whose store is on one."""

SERVERS: Final[Mapping[Mode, Callable[[], MongoDB | SqlServer | RedisServer]]] = {
    Mode.POSTGRESQL: shared_postgresql,
    Mode.MARIADB: shared_mariadb,
    Mode.REDIS: shared_redis,
    Mode.MONGODB: shared_mongodb,
    Mode.DISTRIBUTED: shared_mongodb,
}
"""What starts the server that a mode's store is on."""

TYPES: Final[Mapping[Mode, StorageType]] = {
    Mode.POSTGRESQL: StorageType.SQL,
    Mode.MARIADB: StorageType.SQL,
    Mode.REDIS: StorageType.REDIS,
    Mode.MONGODB: StorageType.MONGODB,
    Mode.DISTRIBUTED: StorageType.MONGODB,
}
"""The storage type of a mode whose store is on a server."""


@contextmanager
def services(modes: set[Mode]) -> Iterator[tuple[RabbitMQ | None, Stores]]:
    """Start what the modes need: a broker, the stores' servers."""
    with ExitStack() as stack:
        broker = stack.enter_context(shared_rabbitmq()) if Mode.DISTRIBUTED in modes else None
        wanted = {SERVERS[mode] for mode in modes & SERVERS.keys()}
        started = {make: make() for make in wanted}
        for server in started.values():
            stack.enter_context(server)
        yield broker, {mode: started[make] for mode, make in SERVERS.items() if make in wanted}


@contextmanager
def place_of(mode: Mode, folder: Path, broker: RabbitMQ | None, stores: Stores) -> Iterator[Place]:
    """Make the place of a mode: a new folder, database, virtual host and worker, as needed."""
    inside = folder / mode
    inside.mkdir()
    with ExitStack() as stack:
        yield Place(mode, _settings(mode, inside, stack, broker, stores), inside)


def _settings(mode: Mode, folder: Path, stack: ExitStack, broker: RabbitMQ | None, stores: Stores) -> dict[str, Any]:
    common: dict[str, Any] = {"enable_cleanup": False, "partitions": PARTITIONS}
    match mode:
        case Mode.MEMORY:
            return {**common, "storage_type": StorageType.MEMORY}
        case Mode.FILES:
            return {**common, "storage_type": "file", "storage_config": {"storage_dir": str(folder / "sessions")}}
        case Mode.SQLITE:
            return {**common, "storage_type": "DATABASE", "storage_config": {"db_path": str(folder / "sessions.db")}}
    url = stack.enter_context(stores[mode].fresh_database())
    settings = {**common, "storage_type": TYPES[mode], "storage_config": {"url": url}}
    if mode is not Mode.DISTRIBUTED:
        return settings
    assert broker is not None
    amqp_url = stack.enter_context(broker.fresh_vhost())
    env = {
        "AGENTBUS_AMQP_URL": amqp_url,
        "AGENTBUS_STORE_URL": url,
        "AGENTBUS_PARTITIONS": str(PARTITIONS),
    }
    stack.enter_context(running_worker("session", folder=folder, env=env))
    return {**settings, "amqp_url": amqp_url}
