"""Which store a URL means."""

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import EntryPoints, entry_points
from typing import Final, cast

from agentbus.contracts.errors import ConfigurationError
from agentbus.contracts.extras import importing_extras
from agentbus.contracts.urls import masked
from agentbus.storage.memory import MemoryStore
from agentbus.storage.port import MongoDriver, Store, StoreOptions

StoreFactory = Callable[[str, StoreOptions], Store]

GROUP: Final = "agentbus.stores"
"""The entry points by which installed packages bring stores of their own: a scheme's name, and its factory."""


def _in(module: str, name: str, extra: str | None = None) -> StoreFactory:
    """Make a factory that imports its driver when it is used: that takes half a second, and nobody needs them all."""

    def opened(url: str, options: StoreOptions) -> Store:
        with importing_extras(extra):
            return cast("Store", getattr(import_module(module), name)(url, options))

    return opened


_factories: Final[dict[str, StoreFactory]] = {
    "file": _in("agentbus.storage.files", "FileStore"),
    "mariadb": _in("agentbus.storage.sql", "SqlStore", "mysql"),
    "memory": lambda _url, _options: MemoryStore(),
    "mongodb": _in("agentbus.storage.mongo", "MongoStore"),
    "mongodb+srv": _in("agentbus.storage.mongo", "MongoStore"),
    "mysql": _in("agentbus.storage.sql", "SqlStore", "mysql"),
    "postgres": _in("agentbus.storage.sql", "SqlStore", "postgresql"),
    "postgresql": _in("agentbus.storage.sql", "SqlStore", "postgresql"),
    "redis": _in("agentbus.storage.redis", "RedisStore", "redis"),
    "redis+cluster": _in("agentbus.storage.redis", "RedisStore", "redis"),
    "rediss": _in("agentbus.storage.redis", "RedisStore", "redis"),
    "rediss+cluster": _in("agentbus.storage.redis", "RedisStore", "redis"),
    "sqlite": _in("agentbus.storage.sql", "SqlStore"),
}


def open_store(url: str, *, mongo_driver: MongoDriver = "pymongo", connect_timeout: float = 30.0) -> Store:
    """Return the store at `url`, not connected yet: enter it, or await its `start`.

    URLs: `memory://`, `file:///absolute/folder`, `file://relative/folder` (made if only it is missing),
    `sqlite:///relative.db`, `sqlite:////absolute/path.db`, `postgresql://user:password@host:port/database` (also
    `postgres`), `mysql://user:password@host:port/database` (also `mariadb`), `mongodb://host:port/database` (also
    `mongodb+srv`; the database is `agentbus` if none is named), `redis://user:password@host:port/0` (also `rediss`,
    encrypted, and `redis+cluster://host:port,host:port`), those of `register_store`, and those of installed packages
    with an entry point of GROUP, named after the scheme, which is a factory.
    `connect_timeout` is how many seconds `start` waits for a server that is not there yet.
    Raises ConfigurationError for a URL that no store here understands, or whose extra is not installed.
    """
    scheme, separator, _ = url.partition("://")
    scheme = scheme.lower()
    if not separator:
        raise ConfigurationError(f"a store's URL is like <scheme>://<place>; schemes are {_known()}")
    if factory := _factories.get(scheme):
        return factory(url, StoreOptions(mongo_driver=mongo_driver, connect_timeout=connect_timeout))
    if scheme in (installed := _installed()).names:
        with importing_extras():
            register_store(scheme, installed[scheme].load())
        return _factories[scheme](url, StoreOptions(mongo_driver=mongo_driver, connect_timeout=connect_timeout))
    raise ConfigurationError(f"no store is known for {masked(url)}: schemes are {_known()}")


def known_schemes() -> list[str]:
    """Return the schemes of all stores, those of installed packages too."""
    return sorted({*_factories, *_installed().names})


def register_store(scheme: str, factory: StoreFactory) -> None:
    """Let `open_store` hand URLs of `scheme` to `factory`. The last one registered for a scheme counts."""
    _factories[scheme.lower()] = factory


def _known() -> str:
    return ", ".join(f"{scheme}://" for scheme in known_schemes())


def _installed() -> EntryPoints:
    return entry_points(group=GROUP)
