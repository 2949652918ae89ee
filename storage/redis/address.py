"""What a URL of a Redis store says: where its servers are, and where in them the store is."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from agentbus.contracts.errors import ConfigurationError
from agentbus.contracts.urls import check_credentials, masked

PORT: Final = 6379
PREFIX: Final = "agentbus"
MOST_SHARDS: Final = 1024

_SHARDS: Final = 64
"""Shards of a store in a cluster, unless the URL names another number: each is in one of its servers."""

_SCHEMES: Final[Mapping[str, tuple[bool, bool]]] = {
    "redis": (False, False),
    "rediss": (True, False),
    "redis+cluster": (False, True),
    "rediss+cluster": (True, True),
}
"""Whether connections are encrypted, and whether it is a cluster."""

_TLS: Final = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname"})
"""What a URL may say about encryption, in redis-py's words."""

_BOOLEANS: Final[Mapping[str, bool]] = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class Durability(StrEnum):
    """What is expected of a server that would lose what it has, or throw it away."""

    REQUIRE = "require"
    """It is refused."""
    WARN = "warn"
    """It is used; the log and `agentbus doctor` say what may be lost."""


class Host(NamedTuple):
    """Where a server listens."""

    name: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A store's place."""

    target: str
    """The URL as people and logs may see it."""
    hosts: tuple[Host, ...]
    database: int
    user: str | None
    password: str | None
    encrypted: bool
    cluster: bool
    tls: Mapping[str, Any]
    prefix: str
    """What all keys begin with."""
    shards: int
    """How many shards a new store gets; one that is there keeps its number."""
    durability: Durability

    @property
    def name(self) -> str:
        """What tells this store from others on the same server."""
        return f"{self.database}/{self.prefix}" if self.database else self.prefix


def address_of(url: str) -> Address:
    """Read a URL. Raises ConfigurationError, without what may be secret, for one that can't be used."""
    check_credentials(url)
    target = masked(url)
    try:
        return _read(url, target)
    except ValueError as error:
        raise ConfigurationError(
            f"the Redis URL {target} can't be used: {error}: it is like redis://user:password@host:port/0?prefix=agentbus"
        ) from None


def _read(url: str, target: str) -> Address:
    scheme = url.partition("://")[0].lower()
    encrypted, cluster = _SCHEMES[scheme]
    parts = _split(url.partition("://")[2])
    login, at, places = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    hosts = tuple(_host(place) for place in places.split(","))
    if not cluster and len(hosts) > 1:
        raise ValueError(f"several servers are a cluster's: {scheme}+cluster://")
    options = dict(parse_qsl(parts.query, keep_blank_values=True, max_num_fields=50))
    given = _Options(options)
    database = _number(parts.path.strip("/") or "0", "the database", 0, 2**31)
    if cluster and database:
        raise ValueError("a cluster has database 0 alone: tell stores apart by their prefix")
    address = Address(
        target=target,
        hosts=hosts,
        database=database,
        user=(unquote(user) or None) if at else None,
        password=(unquote(password) or None) if at else None,
        encrypted=encrypted,
        cluster=cluster,
        tls=given.tls(encrypted=encrypted),
        prefix=given.prefix(),
        shards=_number(given.take("shards", str(_SHARDS if cluster else 1)), "shards", 1, MOST_SHARDS),
        durability=given.durability(),
    )
    given.check_all_taken()
    return address


class _Options:
    """The options of a URL, each taken once."""

    def __init__(self, given: dict[str, str]) -> None:
        self._left = given

    def take(self, name: str, default: str) -> str:
        return self._left.pop(name, default)

    def tls(self, *, encrypted: bool) -> Mapping[str, Any]:
        found: dict[str, Any] = {name: self._left.pop(name) for name in _TLS & self._left.keys()}
        if found and not encrypted:
            raise ValueError(f"{min(found)} is for encrypted connections: rediss://")
        if found.get("ssl_cert_reqs", "required") not in {"required", "none"}:
            raise ValueError("ssl_cert_reqs is required or none")
        if (checked := found.get("ssl_check_hostname")) is not None:
            if checked.lower() not in _BOOLEANS:
                raise ValueError("ssl_check_hostname is true or false")
            found["ssl_check_hostname"] = _BOOLEANS[checked.lower()]
        return found

    def prefix(self) -> str:
        prefix = self.take("prefix", PREFIX)
        if not prefix or not prefix.isprintable() or any(one in prefix for one in "{}*?[]\\^ ") or len(prefix) > 100:
            raise ValueError("the prefix is 1 to 100 characters, none of them a space or one of {}*?[]\\^")
        return prefix

    def durability(self) -> Durability:
        given = self.take("durability", Durability.REQUIRE)
        if given not in set(Durability):
            raise ValueError(f"durability is one of {', '.join(Durability)}")
        return Durability(given)

    def check_all_taken(self) -> None:
        if self._left:
            known = ", ".join(sorted({"prefix", "durability", "shards", *_TLS}))
            raise ValueError(f"it has an option that is none of {known}")


def _host(place: str) -> Host:
    parts = _split(place)
    try:
        port = PORT if parts.port is None else parts.port
    except ValueError:
        raise ValueError("a port is a number from 1 to 65535") from None
    if not parts.hostname or not port:
        raise ValueError("it names no host, or port 0")
    return Host(parts.hostname, port)


def _split(place: str) -> SplitResult:
    try:
        return urlsplit(f"//{place}")
    except ValueError:  # Not in its words: they may quote the password.
        raise ValueError("its host can't be read") from None


def _number(text: str, what: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > 10 or not least <= int(text) <= most:
        raise ValueError(f"{what} is a number from {least} to {most}")
    return int(text)
