"""Settings: one model per concern, read once from the environment (`AGENTBUS_...`) and an optional `.env` file."""

import os
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from agentbus.contracts.address import Scope
from agentbus.contracts.backup import BackupFormat
from agentbus.contracts.documents import json_in
from agentbus.contracts.errors import ConfigurationError
from agentbus.contracts.expiry import ResetPolicy
from agentbus.contracts.replies import InDoubt
from agentbus.contracts.secrets import SECRET_KEYS
from agentbus.contracts.session import FailurePolicy
from agentbus.contracts.text import few_of
from agentbus.contracts.topology import DEFAULT_PARTITIONS, MAX_PARTITIONS, Topology
from agentbus.contracts.urls import LOOPBACK
from agentbus.variables import (
    ENV_FILE,
    ENV_PREFIX,
    FILE_SUFFIX,
    UnknownVariable,
    read_environment,
    read_files,
    unknown_among,
    variable_of,
)

HURRY: Final = 2.5
"""Seconds that clients and commands wait for a broker or store, unless told otherwise; workers wait longer."""


class LogFormat(StrEnum):
    """How log lines look."""

    CONSOLE = "console"
    """For people: aligned and coloured."""
    JSON = "json"
    """For machines: one JSON object a line."""


class TraceMode(StrEnum):
    """Which spans are told, and how they hang together."""

    OFF = "off"
    """None. A trace context that came is passed on all the same."""
    LINKS = "links"
    """What consumes a message begins a trace of its own, linked to the one that the message was made in."""
    PARENT = "parent"
    """What consumes a message goes on with its trace."""


def _listed(value: object) -> object:
    """Return the words of a comma-separated list; what is no text stays as it is."""
    return tuple(word.strip() for word in value.split(",") if word.strip()) if isinstance(value, str) else value


def _decoded(value: object) -> object:
    """Return the list that a JSON text is, an empty one for none; what is no text stays as it is. Raises ValueError."""
    if not isinstance(value, str):
        return value
    try:
        return json_in(value) if value.strip() else ()
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None


class _Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, env_file=ENV_FILE, extra="ignore", frozen=True)

    @classmethod
    def of(cls, values: Mapping[str, object]) -> Self:
        """Make it of what is given and of defaults alone. Raises ValidationError as `model_validate` does."""
        made = cls.__new__(cls)
        BaseModel.__init__(made, **values)  # BaseSettings' own would look through the environment before.
        return made


Concern = TypeVar("Concern", bound=_Settings)


class BusSettings(_Settings):
    """Where the broker is, and how AgentBus is laid out on it."""

    amqp_url: str = Field(
        default="amqp://guest:guest@localhost:5672/",
        repr=False,
        description="The broker: `amqp://user:password@host:port/vhost`, `amqps://...`, or `memory://` (in process).",
    )
    prefix: str = Field(
        default="agentbus",
        pattern=r"^[a-z][a-z0-9_-]{0,63}$",
        description="First word of every exchange and queue name.",
    )
    partitions: int = Field(
        default=DEFAULT_PARTITIONS,
        ge=1,
        le=MAX_PARTITIONS,
        description="Partition queues; at least 4 x the most workers. The same for all publishers and workers.",
    )
    broker_timeout: float = Field(
        default=30.0,
        gt=0,
        description="Seconds to wait for a broker that does not answer at start; clients and commands wait 2.5 s "
        "unless it is set.",
    )
    publish_timeout: float = Field(default=10.0, gt=0, description="Seconds to wait for a publisher confirm.")
    heartbeat: int = Field(default=10, ge=1, le=60, description="AMQP heartbeat in seconds.")

    command_users: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)] = Field(
        default=(),
        description="Broker users, separated by commas, that may send commands and queries; all others chat messages "
        "alone. None: all that may write to the partitions. The same for all session workers.",
    )

    @property
    def topology(self) -> Topology:
        """The topology that these settings describe."""
        return Topology(prefix=self.prefix, partitions=self.partitions)


class StoreSettings(_Settings):
    """Where sessions are kept."""

    store_url: str = Field(
        default="mongodb://localhost:27017/agentbus",
        repr=False,
        description=(
            "The store: `mongodb://host/database`, `postgresql://host/database`, `mysql://host/database`, "
            "`redis://host/0`, `sqlite:///file.db`, `file:///folder` or `memory://`."
        ),
    )
    mongo_driver: Literal["motor", "pymongo"] = Field(
        default="pymongo", description="The MongoDB driver: PyMongo's async client, or motor, which it succeeds."
    )
    store_timeout: float = Field(
        default=30.0,
        gt=0,
        description="Seconds to wait for a store that does not answer at start; commands wait 2.5 s unless it is set.",
    )


class EncryptionSettings(_Settings):
    """What people wrote is kept encrypted, if there are keys."""

    encryption_keys: str | None = Field(
        default=None,
        min_length=1,
        repr=False,
        description="Master keys, `name:base64` each, separated by commas, the active one first; or the URL of where "
        "they are: `file:///path`, or a provider's. None: nothing is encrypted. The same for all that use the store.",
    )
    encryption_key_store: str | None = Field(
        default=None,
        min_length=1,
        repr=False,
        description="A store of their own for the data keys, by its URL, which backups of the sessions' store don't "
        "hold. None: they are in that store too.",
    )


class SessionSettings(_Settings):
    """How conversations are formed, and how much a session worker takes on."""

    scope: Scope = Field(
        default=Scope.PER_CHAT_USER,
        description="Session scope policy: main, per_chat, per_user, per_chat_user or per_account_chat_user. "
        "The same for all publishers, routers and workers.",
    )
    prefetch: int = Field(
        default=100,
        ge=1,
        le=1000,
        description="Unacknowledged inputs per partition: "
        "what a worker has in memory (64 MB of them at most), and what comes again if it dies.",
    )
    max_live: int = Field(default=10_000, ge=1, description="Conversations whose state a worker holds in memory.")
    worker_beat: float = Field(default=1.0, gt=0, description="Seconds between a session worker's heartbeats.")
    worker_ttl: float = Field(
        default=4.0, gt=0, description="Seconds of silence after which a session worker is taken for dead."
    )
    on_failure: FailurePolicy = Field(
        default=FailurePolicy.SKIP,
        description="After an input failed for good: `skip` it, or `block` its conversation until it is replayed. "
        "A session's metadata key `on_failure` goes before this.",
    )
    secret_keys: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)] = Field(
        default=SECRET_KEYS,
        description="Keys, separated by commas, whose values are left out of announced events and log lines.",
    )
    park_limit: int = Field(
        default=100,
        ge=1,
        description="Inputs parked in a row, by no fault of theirs, that stop a partition for a while.",
    )
    reset_policies: Annotated[tuple[ResetPolicy, ...], NoDecode, BeforeValidator(_decoded)] = Field(
        default=(),
        description="When conversations begin anew, a JSON list such as "
        '`[{"words": ["/new"], "idle_minutes": 60, "daily_hour": 4, "time_zone": "Europe/Berlin"}]`; '
        "the first for a message's platform and its session's type decides. None: never.",
    )


class SyncSettings(_Settings):
    """How the links between a person's sessions are proven."""

    claim_secret: str | None = Field(
        default=None,
        min_length=32,
        repr=False,
        description="The secret that claim codes are signed with, the same for all; at least 32 characters. "
        "None: one is made up once and kept in the store.",
    )


class ArchiveSettings(_Settings):
    """Where sessions go that are archived."""

    archive_url: str | None = Field(
        default=None,
        min_length=1,
        repr=False,
        description="The archive, by any fsspec URL: `file:///folder`, `s3://bucket/folder` (with s3fs installed). "
        "None: nothing is archived.",
    )
    archive_options: Annotated[dict[str, Any], NoDecode, BeforeValidator(lambda value: _decoded(value) or {})] = Field(
        default={},
        repr=False,
        description="Options of the archive's file system, a JSON object: keys, endpoints.",
    )


class BackupSettings(_Settings):
    """Where backups are, how they are made, and how long they are kept."""

    backup_url: str | None = Field(
        default=None,
        min_length=1,
        repr=False,
        description="The place of the backups, by any fsspec URL: `file:///folder`, `s3://bucket/folder` (with s3fs "
        "installed). None: a backup worker has nothing to do.",
    )
    backup_options: Annotated[dict[str, Any], NoDecode, BeforeValidator(lambda value: _decoded(value) or {})] = Field(
        default={},
        repr=False,
        description="Options of that place's file system, a JSON object: keys, endpoints.",
    )
    backup_key: str | None = Field(
        default=None,
        min_length=32,
        repr=False,
        validate_default=True,
        description="What pickled backups are signed with (HMAC-SHA256); at least 32 characters. No other format needs "
        "it.",
    )
    backup_format: BackupFormat = Field(
        default=BackupFormat.JSON, description="json, json_gz, json_zst, pickle or pickle_gz."
    )
    backup_every: float = Field(
        default=86_400.0, ge=1, description="Seconds between the beginnings of two backups that a worker makes."
    )
    backup_full_every: float = Field(
        default=604_800.0,
        ge=0,
        description="Seconds after which it makes a full one; those between are incremental. 0: all are full.",
    )
    backup_keep_last: int = Field(
        default=7, ge=0, description="How many of the latest backups are kept. All four 0: every backup is."
    )
    backup_keep_daily: int = Field(default=7, ge=0, description="Of how many days the latest is kept, besides.")
    backup_keep_weekly: int = Field(default=4, ge=0, description="Of how many weeks the latest is kept, besides.")
    backup_keep_monthly: int = Field(default=12, ge=0, description="Of how many months the latest is kept, besides.")


class ExpirySettings(_Settings):
    """Who is told what expiry rules do, besides the log."""

    expiry_webhook: str | None = Field(
        default=None, repr=False, description="A web address that is told of each step of an expiry rule."
    )
    expiry_webhook_secret: str | None = Field(
        default=None,
        min_length=16,
        repr=False,
        validate_default=True,
        description="What these requests are signed with (HMAC-SHA256); at least 16 characters.",
    )
    expiry_webhook_private: bool = Field(
        default=False, description="Whether that address may lead to loopback or a private network."
    )
    expiry_email_to: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)] = Field(
        default=(), description="Addresses, separated by commas, that get an e-mail about each step."
    )
    expiry_email_from: str = Field(default="agentbus@localhost", description="The sender of these e-mails.")
    smtp_host: str = Field(default="localhost", description="The mail server.")
    smtp_port: int = Field(default=25, ge=1, le=65535, description="Its port.")
    smtp_username: str | None = Field(default=None, description="The user that signs in there; none: nobody does.")
    smtp_password: str | None = Field(default=None, repr=False, description="Their password.")

    @field_validator("expiry_webhook_secret")
    @classmethod
    def _signed(cls, secret: str | None, others: ValidationInfo) -> str | None:
        if others.data.get("expiry_webhook") and not secret:
            raise ValueError("it is needed to sign what the web address is told")
        return secret


class ChannelSettings(_Settings):
    """Which accounts of which chat systems there are, and where their platforms reach us."""

    channels: Annotated[
        dict[str, dict[str, dict[str, Any]]], NoDecode, BeforeValidator(lambda value: _decoded(value) or {})
    ] = Field(
        default={},
        repr=False,
        description="The accounts, a JSON object: by channel, by a name of yours, what the channel needs, such as "
        '`{"telegram": {"mybot": {"token_file": "/run/secrets/mybot"}}}`. A field with `_file` behind its name is read '
        "from that file.",
    )
    gateway_host: str = Field(default=LOOPBACK, description="The address that a gateway listens at.")
    gateway_port: int = Field(default=8080, ge=0, le=65535, description="Its port; 0: a free one, which the log says.")
    gateway_max_body: int = Field(
        default=4_194_304, ge=1024, le=67_108_864, description="Bytes of the largest request that it reads."
    )
    replies_in_doubt: InDoubt = Field(
        default=InDoubt.HOLD,
        description="What is done with a reply of which nobody knows whether its platform has it: `hold`, until "
        "somebody decides (`agentbus replies list`), or `resend`, marked as possibly doubled.",
    )
    replies_give_up: float = Field(
        default=86_400.0, gt=0, description="Seconds after which a reply that could not be sent counts as failed."
    )
    gateway_rate: float = Field(default=200.0, gt=0, description="Requests a second that it takes for each account.")


class ApiSettings(_Settings):
    """Where the HTTP API listens, and who may call it besides the holders of its keys."""

    api_in_all: bool = Field(default=False, description="Whether `agentbus worker all` serves the HTTP API too.")
    api_host: str = Field(
        default=LOOPBACK,
        description="The address that the HTTP API listens at; beyond loopback only once there is a key.",
    )
    api_port: int = Field(default=8090, ge=0, le=65535, description="Its port; 0: a free one, which the log says.")
    api_max_body: int = Field(
        default=4_194_304, ge=1024, le=67_108_864, description="Bytes of the largest request that it reads."
    )
    api_streams: int = Field(
        default=10_000, ge=1, le=100_000, description="Clients that may follow events at once, by server-sent events."
    )
    api_rate: float = Field(default=100.0, gt=0, description="Calls a second that it takes from each key.")
    api_jwt_issuer: str | None = Field(
        default=None, min_length=1, description="Whose JSON Web Tokens are taken beside keys. None: nobody's."
    )
    api_jwt_audience: str | None = Field(
        default=None, min_length=1, validate_default=True, description="For whom these tokens must be: their `aud`."
    )
    api_jwt_jwks: str | None = Field(
        default=None,
        validate_default=True,
        description="Where the issuer's keys are: an address that begins with https://, or on this machine http://.",
    )
    api_jwt_roles_claim: str = Field(
        default="roles", min_length=1, description="The claim that has the roles: a list, or words in a text."
    )
    api_jwt_user_claim: str = Field(default="sub", min_length=1, description="The claim that has the user.")

    @field_validator("api_jwt_audience", "api_jwt_jwks")
    @classmethod
    def _goes_with_an_issuer(cls, given: str | None, others: ValidationInfo) -> str | None:
        if others.data.get("api_jwt_issuer") and not given:
            raise ValueError("it is needed to check the issuer's tokens")
        return given

    @field_validator("api_jwt_jwks")
    @classmethod
    def _is_safe(cls, given: str | None) -> str | None:
        if given and not given.startswith(("https://", f"http://{LOOPBACK}:", "http://localhost:")):
            raise ValueError("whoever can change what comes from there makes tokens: it must begin with https://")
        return given


class LogSettings(_Settings):
    """What is logged, and told as spans."""

    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least level logged.")
    log_format: LogFormat = Field(default=LogFormat.CONSOLE, description="`console` for people, `json` for machines.")
    traces: TraceMode = Field(
        default=TraceMode.OFF,
        description="Spans by OpenTelemetry, with the extra `otel`: `off`; `links`, each process's work in a trace of "
        "its own, linked to what caused it; `parent`, all in one trace. Where they go and which are kept is said by "
        "`OTEL_...` variables.",
    )


class Settings(BaseModel):
    """All settings, composed."""

    bus: BusSettings
    store: StoreSettings
    encryption: EncryptionSettings
    session: SessionSettings
    sync: SyncSettings
    archive: ArchiveSettings
    backup: BackupSettings
    expiry: ExpirySettings
    channels: ChannelSettings
    api: ApiSettings
    log: LogSettings

    @property
    def topology(self) -> Topology:
        """The topology that these settings describe, of one installation: its partitions, its scope."""
        return self.bus.topology.model_copy(update={"scope": self.session.scope})


CONCERNS: tuple[type[_Settings], ...] = (
    BusSettings,
    StoreSettings,
    EncryptionSettings,
    SessionSettings,
    SyncSettings,
    ArchiveSettings,
    BackupSettings,
    ExpirySettings,
    ChannelSettings,
    ApiSettings,
    LogSettings,
)


def unknown_variables(environment: Mapping[str, str] | None = None) -> list[UnknownVariable]:
    """Return the variables of the environment and of `.env` that begin as ours do and that no setting is read from."""
    fields = {name: field for concern in CONCERNS for name, field in concern.model_fields.items()}
    known = {variable_of(name) for name in fields}
    known |= {variable_of(name) + FILE_SUFFIX for name, field in fields.items() if not field.repr}
    return unknown_among(os.environ if environment is None else environment, known)


def load_settings(**given: object) -> Settings:
    """Read the settings; what is given (and not None) goes before the environment.

    What is secret may also be in a file that `AGENTBUS_..._FILE` names. Raises ConfigurationError naming each wrong
    setting by its environment variable.
    """
    values = {name: value for name, value in given.items() if value is not None}
    unknown = values.keys() - {name for concern in CONCERNS for name in concern.model_fields}
    if unknown:
        raise ConfigurationError(f"no such setting: {', '.join(sorted(unknown))}")
    environment = read_environment()
    try:
        return Settings.model_construct(
            bus=_read(BusSettings, values, environment),
            store=_read(StoreSettings, values, environment),
            encryption=_read(EncryptionSettings, values, environment),
            session=_read(SessionSettings, values, environment),
            sync=_read(SyncSettings, values, environment),
            archive=_read(ArchiveSettings, values, environment),
            backup=_read(BackupSettings, values, environment),
            expiry=_read(ExpirySettings, values, environment),
            channels=_read(ChannelSettings, values, environment),
            api=_read(ApiSettings, values, environment),
            log=_read(LogSettings, values, environment),
        )
    except ValidationError as error:
        raise ConfigurationError(_explain(error)) from None


def in_a_hurry(settings: Settings) -> Settings:
    """Return the settings for whom a person waits: a broker or store that is not there is said within seconds.

    A time that was set, here or in the environment, stays as it is.
    """
    bus, store = settings.bus, settings.store
    if "broker_timeout" not in bus.model_fields_set:
        bus = bus.model_copy(update={"broker_timeout": HURRY})
    if "store_timeout" not in store.model_fields_set:
        store = store.model_copy(update={"store_timeout": HURRY})
    return settings.model_copy(update={"bus": bus, "store": store})


def settings_table() -> str:
    """Return the settings as a Markdown table: that of `docs/settings.md`."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for concern in CONCERNS:
        for name, field in concern.model_fields.items():
            default = _shown(field.default)
            lines.append(f"| `{ENV_PREFIX}{name.upper()}` | `{default}` | {field.description} |")
    return "\n".join(lines)


def _shown(default: object) -> object:
    if isinstance(default, tuple):
        return ",".join(default) or "[]"
    return default.value if isinstance(default, StrEnum) else default


def _read(concern: type[Concern], values: dict[str, object], environment: Mapping[str, str]) -> Concern:
    given = {name: values[name] for name in concern.model_fields.keys() & values.keys()}
    secret = (name for name, field in concern.model_fields.items() if not field.repr and name not in given)
    given = read_files(secret, environment) | given
    if environment.keys().isdisjoint(map(variable_of, concern.model_fields)):
        return concern.of(given)  # To look for them in vain takes most of 10 ms, of each session system that starts.
    return concern.model_validate(given)


def _explain(error: ValidationError) -> str:
    items = error.errors(include_url=False, include_input=False, include_context=False)
    return few_of([f"{ENV_PREFIX}{str(one['loc'][0]).upper()}: {_within(one['loc'][1:])}{one['msg']}" for one in items])


def _within(place: tuple[int | str, ...]) -> str:
    """Return where in a setting of several parts it is, such as `1.daily_hour: `."""
    return f"{'.'.join(map(str, place))}: " if place else ""
