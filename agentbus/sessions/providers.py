"""Which store a storage type and its configuration mean."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from agentbus.contracts.errors import ConfigurationError
from agentbus.sessions.model.types import StorageType
from agentbus.storage.factory import known_schemes, open_store
from agentbus.storage.port import MongoDriver, Store

StorageConfig = Mapping[str, Any]
Provider = Callable[[StorageConfig], Store]

_KEYS: Final = {
    StorageType.MEMORY: None,
    StorageType.FILE: "storage_dir",
    StorageType.DATABASE: "db_path",
    StorageType.MONGODB: "url",
    StorageType.REDIS: "url",
    StorageType.SQL: "url",
}

_providers: Final[dict[str, Provider]] = {}


def register_provider(name: str, provider: Provider) -> None:
    """Let `storage_type=name` mean the store that `provider` makes of the storage configuration.

    A store of one's own implements `agentbus.storage.port.Store`; the last provider registered for a name counts.
    """
    _providers[name.lower()] = provider


def store_for(storage_type: StorageType | str, config: StorageConfig) -> Store:
    """Return the store meant, not connected yet. Raises ConfigurationError, saying what is missing or unknown."""
    chosen = StorageType.of(storage_type)
    if provider := _providers.get(chosen.lower()):
        return provider(config)
    if not isinstance(chosen, StorageType):
        if chosen.lower() in known_schemes():
            return open_store(str(config.get("url") or f"{chosen.lower()}://"))
        known = ", ".join([*StorageType, *sorted(_providers)])
        raise ConfigurationError(f"storage type {chosen!r} is not known: use one of {known}, or register_provider()")
    driver: MongoDriver = config.get("driver", "pymongo")
    return open_store(_url(chosen, config), mongo_driver=driver, connect_timeout=config.get("connect_timeout", 30.0))


def url_of(storage_type: StorageType | str, config: StorageConfig) -> str:
    """Return the URL of the store meant; of a provider of one's own its name alone. Raises as `store_for` does."""
    chosen = StorageType.of(storage_type)
    if isinstance(chosen, StorageType) and chosen.lower() not in _providers:
        return _url(chosen, config)
    return str(config.get("url") or f"{chosen.lower()}://")


def _url(chosen: StorageType, config: StorageConfig) -> str:
    if unknown := config.keys() - {_KEYS[chosen], "driver", "connect_timeout"}:
        expected = _KEYS[chosen] or "nothing"
        raise ConfigurationError(f"storage_config of {chosen} takes {expected}, not {', '.join(sorted(unknown))}")
    match chosen:
        case StorageType.FILE:
            return f"file://{Path(_given(chosen, config)).expanduser().absolute()}"
        case StorageType.DATABASE:
            return f"sqlite:///{Path(_given(chosen, config)).expanduser().absolute()}"
        case StorageType.MONGODB | StorageType.SQL | StorageType.REDIS:
            return _given(chosen, config)
        case _:
            return "memory://"


def _given(chosen: StorageType, config: StorageConfig) -> str:
    key = _KEYS[chosen]
    value = config.get(key) if key else None
    if not value:
        raise ConfigurationError(f'storage type {chosen} needs storage_config={{"{key}": ...}}')
    return str(value)
