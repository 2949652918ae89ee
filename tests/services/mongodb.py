"""A private MongoDB server from a local program."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode, urlsplit
from uuid import uuid4

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from tests.services.local import LocalService
from tests.services.ports import LOOPBACK, listens
from tests.services.programs import mongod_program
from tests.services.service import Service, wait_until

_ANSWER_MS = 2_000
_CACHE_GB = "0.5"
_ELECTION_SECONDS = 30.0


class MongoDB(Service):
    """A MongoDB server whose databases keep tests apart."""

    @property
    @abstractmethod
    def url(self) -> str:
        """The server's URL, which names no database."""

    def database_url(self, name: str) -> str:
        """Return the URL of one database; credentials, if any, are checked where they were before."""
        parts = urlsplit(self.url)
        options = dict(parse_qsl(parts.query))
        if "@" in parts.netloc:
            options.setdefault("authSource", parts.path.strip("/") or "admin")
        return parts._replace(path=f"/{name}", query=urlencode(options)).geturl()

    @contextmanager
    def fresh_database(self) -> Iterator[str]:
        """Give the URL of an unused database, dropped afterwards; a server left dead or paused is revived."""
        name = f"agentbus_test_{uuid4().hex[:12]}"
        self.start()
        try:
            yield self.database_url(name)
        finally:
            self.start()
            with MongoClient[dict[str, Any]](self.url) as client:
                client.drop_database(name)


class LocalMongoDB(MongoDB, LocalService):
    """A server of our own, without access control.

    `replica_set` names the set that it may become a member of (see `form_replica_set`); without, it stands
    alone. `parameters` are server parameters, such as `{"ttlMonitorSleepSecs": "1"}`.
    """

    name: ClassVar[str] = "mongod"

    def __init__(self, *, replica_set: str | None = None, parameters: Mapping[str, str] | None = None) -> None:
        self._program_path = str(mongod_program())
        super().__init__()
        self.replica_set = replica_set
        self._parameters = {"diagnosticDataCollectionEnabled": "false"} | dict(parameters or {})
        (self.folder / "data").mkdir()

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def url(self) -> str:
        return f"mongodb://{self.address}/?directConnection=true"

    def command(self) -> Sequence[str]:
        command = [self._program_path, "--dbpath", str(self.folder / "data"), "--port", str(self.port)]
        command += ["--bind_ip", LOOPBACK, "--nounixsocket", "--wiredTigerCacheSizeGB", _CACHE_GB]
        for name, value in self._parameters.items():
            command += ["--setParameter", f"{name}={value}"]
        if self.replica_set is not None:
            command += ["--replSet", self.replica_set, "--oplogSize", "64"]
        return command

    def ready(self) -> bool:
        return listens(self.port) and answers_mongodb(self.url)

    def hello(self) -> dict[str, Any] | None:
        """Ask the server about itself and its role in a replica set; None when it does not answer."""
        return say_hello(self.url)


def say_hello(url: str) -> dict[str, Any] | None:
    """Return the answer to the command "hello"; None when there is none within two seconds."""
    with MongoClient[dict[str, Any]](url, serverSelectionTimeoutMS=_ANSWER_MS, socketTimeoutMS=_ANSWER_MS) as client:
        try:
            return client.admin.command("hello")
        except PyMongoError:
            return None


def answers_mongodb(url: str) -> bool:
    """Whether a MongoDB server answers there; a paused one accepts connections and does not."""
    return say_hello(url) is not None


def form_replica_set(*members: LocalMongoDB) -> str:
    """Make started servers of one `replica_set` name a set, wait for its primary and return the set's URL."""
    name = members[0].replica_set
    hosts = [{"_id": number, "host": member.address} for number, member in enumerate(members)]
    settings = {"electionTimeoutMillis": 2_000}
    with MongoClient[dict[str, Any]](members[0].url) as client:
        client.admin.command("replSetInitiate", {"_id": name, "members": hosts, "settings": settings})

    def elected() -> bool:
        return any((member.hello() or {}).get("isWritablePrimary") for member in members)

    wait_until(elected, what=f"a primary of {name}", seconds=_ELECTION_SECONDS)
    return f"mongodb://{','.join(member.address for member in members)}/?replicaSet={name}"
