"""Configuration of a session system: in code, from a file, from the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field, TypeAdapter, ValidationError

from agentbus.contracts.documents import json_in, toml_in
from agentbus.contracts.errors import ConfigurationError
from agentbus.contracts.profile import MaxHistory, Seconds
from agentbus.contracts.secrets import SECRET_KEYS
from agentbus.contracts.text import few_of
from agentbus.sessions.model.types import LimitPolicy, StorageType

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
AtLeastOne = Annotated[int, Field(ge=1)]

ENV_PREFIX: Final = "AGENTBUS_SESSIONS_"

MAX_HISTORY: Final = 50
IDLE_TIMEOUT: Final = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagerOptions:
    """Settings of a session manager; a session's own, given when it is created, go before them."""

    max_history: int = MAX_HISTORY
    """Messages that are read with a session."""
    idle_timeout: float | None = IDLE_TIMEOUT
    """Seconds without activity after which a session is idle; None: never."""
    time_to_live: float | None = None
    """Seconds from a session's creation or refresh to its end; None: it has none."""
    max_sessions_per_user: int | None = None
    """Live sessions that a user may have; None: any number."""
    on_limit: LimitPolicy = LimitPolicy.REFUSE
    """What happens when a user has that many."""
    checkpoint_every: int | None = None
    """Messages after which a checkpoint is saved by itself; None: never."""


@dataclass(kw_only=True)
class SessionSystemConfig:
    """How a session system is set up. Times are in seconds.

    Its fields are the arguments of `initialize_sessions`: `initialize_sessions(**config.__dict__)` works.
    """

    storage_type: StorageType | str = StorageType.MEMORY
    """Where sessions are kept: a storage type, or the name of a registered provider."""
    storage_config: dict[str, Any] = field(default_factory=dict, repr=False)
    """What the storage needs: `storage_dir`, `db_path` or `url`."""
    amqp_url: str | None = field(default=None, repr=False)
    """The broker whose session workers decide; None: this process does, over a bus of its own."""
    prefix: str = "agentbus"
    """First word of every exchange and queue name."""
    partitions: AtLeastOne | None = None
    """Partition queues; the same for all. None: what the environment says."""
    enable_all_features: bool = False
    """Switch on every feature that there is."""
    enable_cleanup: bool = True
    """Expire sessions whose time has come, and make silent ones idle."""
    cleanup_interval: Positive = 300.0
    """Seconds between two looks for such sessions."""
    enable_sync: bool = False
    """Sync the linked sessions of a person on several channels, and hear claim codes."""
    enable_persistence: bool = False
    """Backups: by schedule, and by calls; `backup_dir` says where."""
    enable_tracking: bool = False
    """Figures of how sessions are used, and events that the application tells of them."""
    enable_expiry: bool = False
    """End sessions by expiry rules, eagerly."""
    backup_dir: str | Path | None = field(default=None, repr=False)
    """Where backups are: a folder, or any fsspec URL."""
    archive_dir: str | Path | None = field(default=None, repr=False)
    """Where the archive is: a folder, or any fsspec URL."""
    max_history_per_session: MaxHistory = MAX_HISTORY
    """Messages that are read with a session."""
    idle_timeout: Seconds | None = IDLE_TIMEOUT
    """Seconds without activity after which a session is idle."""
    time_to_live: Seconds | None = None
    """Seconds from a session's creation or refresh to its end; None: it has none."""
    max_sessions_per_user: AtLeastOne | None = None
    """Live sessions that a user may have; None: any number."""
    on_limit: LimitPolicy = LimitPolicy.REFUSE
    """What happens when a user has that many."""
    checkpoint_every: AtLeastOne | None = None
    """Messages after which a checkpoint is saved by itself; None: never."""
    secret_keys: tuple[str, ...] = SECRET_KEYS
    """Keys whose values are left out of announced events and log lines."""
    call_timeout: Positive = 30.0
    """Seconds for which a call is tried again while its owner does not answer."""

    def update(self, values: Mapping[str, Any]) -> "SessionSystemConfig":
        """Set fields, and return the configuration. Raises ConfigurationError naming each that is unknown or wrong."""
        checked = _checked({**self.__dict__, **values})
        self.__dict__.update(checked.__dict__)
        return self

    @property
    def manager_options(self) -> ManagerOptions:
        """The part of it that the session manager goes by."""
        return ManagerOptions(
            max_history=self.max_history_per_session,
            idle_timeout=self.idle_timeout,
            time_to_live=self.time_to_live,
            max_sessions_per_user=self.max_sessions_per_user,
            on_limit=self.on_limit,
            checkpoint_every=self.checkpoint_every,
        )


def archive_url_of(config: SessionSystemConfig) -> str | None:
    """Return the URL of a configuration's archive."""
    return _url_of(config.archive_dir)


def backup_url_of(config: SessionSystemConfig) -> str | None:
    """Return the URL of the place of a configuration's backups."""
    return _url_of(config.backup_dir)


def _url_of(place: str | Path | None) -> str | None:
    if place is None or (isinstance(place, str) and "://" in place):
        return place
    return Path(place).expanduser().absolute().as_uri()


def make_config(**values: Any) -> SessionSystemConfig:
    """Return a configuration of `values`. Raises ConfigurationError naming each that is unknown or wrong."""
    return _checked(values)


def get_development_config() -> SessionSystemConfig:
    """Return a configuration to try things with: in memory, with a look for expired sessions every 10 seconds."""
    return make_config(enable_all_features=True, cleanup_interval=10.0)


def get_production_config(
    storage_config: Mapping[str, Any], backup_dir: str | Path | None = None, archive_dir: str | Path | None = None
) -> SessionSystemConfig:
    """Return a configuration for work: MongoDB, every feature that there is, one look a minute for expired sessions."""
    return make_config(
        storage_type=StorageType.MONGODB,
        storage_config=dict(storage_config),
        enable_all_features=True,
        cleanup_interval=60.0,
        backup_dir=backup_dir,
        archive_dir=archive_dir,
    )


class ConfigManager:
    """Loads a configuration from a TOML or JSON file, then from environment variables, which go before it.

    `AGENTBUS_SESSIONS_STORAGE_TYPE=mongodb` sets `storage_type`, and so on for each field; objects are in JSON:
    `AGENTBUS_SESSIONS_STORAGE_CONFIG='{"url": "mongodb://localhost/agentbus"}'`.
    """

    def __init__(self, path: str | Path | None = None, *, environment: Mapping[str, str] | None = None) -> None:
        self._path = Path(path) if path else None
        self._environment = os.environ if environment is None else environment

    def load(self) -> SessionSystemConfig:
        """Return the configuration. Raises ConfigurationError naming the file or variable that is wrong."""
        in_file, variables = self._from_file(), self._from_environment()
        sources = {name: f"{name} in {self._path}" for name in in_file}
        return _checked(in_file | variables, sources | {name: ENV_PREFIX + name.upper() for name in variables})

    def _from_file(self) -> dict[str, Any]:
        if self._path is None:
            return {}
        try:
            text = self._path.read_text("utf-8")
            found = json_in(text) if self._path.suffix == ".json" else toml_in(text)
        except OSError as error:
            raise ConfigurationError(f"{self._path} can't be read: {error.strerror}") from error
        except ValueError as error:
            kind = "JSON" if self._path.suffix == ".json" else "TOML"
            raise ConfigurationError(f"{self._path} is not {kind}: {error}") from error
        if not isinstance(found, dict):
            raise ConfigurationError(f"{self._path} must hold an object with the fields of SessionSystemConfig")
        return found

    def _from_environment(self) -> dict[str, Any]:
        names = {ENV_PREFIX + one.name.upper(): one.name for one in fields(SessionSystemConfig)}
        return {name: _read(self._environment[key]) for key, name in names.items() if key in self._environment}


_NAMES: Final = frozenset(one.name for one in fields(SessionSystemConfig))


@cache
def _config() -> TypeAdapter[SessionSystemConfig]:
    return TypeAdapter(SessionSystemConfig)


def _checked(values: Mapping[str, Any], sources: Mapping[str, str] | None = None) -> SessionSystemConfig:
    """Return a configuration of `values`; `sources` says where they are from. Raises ConfigurationError."""
    sources = sources or {}
    if unknown := values.keys() - _NAMES:
        raise ConfigurationError(f"no such setting: {', '.join(sources.get(name, name) for name in sorted(unknown))}")
    given = dict(values)
    if isinstance(kind := given.get("storage_type"), str):
        given["storage_type"] = StorageType.of(kind)
    try:
        return _config().validate_python(given)
    except ValidationError as error:
        raise ConfigurationError(
            few_of([_reason(one["loc"], one["msg"], sources) for one in error.errors()])
        ) from error


def _reason(place: tuple[int | str, ...], message: str, sources: Mapping[str, str]) -> str:
    name, *steps = map(str, place)
    return f"{'.'.join([sources.get(name, name), *steps])}: {message}"


def _read(text: str) -> Any:
    """Return what an environment variable says: an object, list or null in JSON, else the text itself."""
    try:
        found = json_in(text)
    except ValueError:
        return text
    return found if found is None or isinstance(found, dict | list) else text
