"""Services that somebody else runs, given by environment variables, such as those of a CI system.

AGENTBUS_TEST_AMQP_URL      a broker: amqp://user:password@host:port/
AGENTBUS_TEST_AMQP_API_URL  its management API, with credentials: http://user:password@host:15672
AGENTBUS_TEST_MONGO_URL     a MongoDB server: mongodb://host:port/
AGENTBUS_TEST_POSTGRESQL_URL  a PostgreSQL server: postgresql://user:password@host:port
AGENTBUS_TEST_MARIADB_URL   a MariaDB or MySQL server: mariadb://user:password@host:port
AGENTBUS_TEST_REDIS_URL     a Redis server that keeps what it has: redis://host:port/0

The users of the two SQL servers have to be allowed to create databases.

Each test gets a virtual host of its own; AMQP can't create one, so a broker needs its management API too.
"""

import json
from base64 import b64encode
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, NoReturn, Self
from urllib.parse import quote, unquote, urlsplit

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from tests.services.errors import NotOurs, ServiceError, StartFailed
from tests.services.mariadb import MariaDB
from tests.services.mongodb import MongoDB
from tests.services.ports import LOOPBACK
from tests.services.postgresql import PostgreSQL
from tests.services.rabbitmq import RabbitMQ, answers_amqp
from tests.services.redis import RedisServer
from tests.services.service import Service, wait_until
from tests.services.sql import SqlServer

AMQP_URL = "AGENTBUS_TEST_AMQP_URL"
AMQP_API_URL = "AGENTBUS_TEST_AMQP_API_URL"
MONGO_URL = "AGENTBUS_TEST_MONGO_URL"
POSTGRESQL_URL = "AGENTBUS_TEST_POSTGRESQL_URL"
MARIADB_URL = "AGENTBUS_TEST_MARIADB_URL"
REDIS_URL = "AGENTBUS_TEST_REDIS_URL"

_ANSWER_SECONDS = 10.0
_START_SECONDS = 30.0


class ExternalService(Service):
    """A service that somebody else runs; `whose` says who, if it is not the variable that gives it."""

    variable: str

    def __init__(self, url: str, *, whose: str | None = None) -> None:
        self._url = url
        self._whose = whose or self.variable

    @property
    def url(self) -> str:
        return self._url

    def stop(self) -> None:
        self.refuse("stop")

    def kill(self) -> None:
        self.refuse("kill")

    def pause(self) -> None:
        self.refuse("pause")

    def resume(self) -> None:
        self.refuse("resume")

    def close(self) -> None:
        pass

    def refuse(self, what: str) -> NoReturn:
        """Say that this is nothing to do with a service of somebody else. Raises NotOurs."""
        message = f"can't {what} the service of {self._whose}: tests of failures start a service of their own"
        raise NotOurs(message)


class ExternalRabbitMQ(ExternalService, RabbitMQ):
    """The broker of AGENTBUS_TEST_AMQP_URL."""

    variable = AMQP_URL

    def __init__(self, url: str, api_url: str | None) -> None:
        super().__init__(url)
        if not api_url:
            message = (
                f"{AMQP_URL} is set but {AMQP_API_URL} is not: each test needs a virtual host of its own, "
                "which only the management API can create"
            )
            raise ServiceError(message)
        self._api = urlsplit(api_url)

    def start(self) -> Self:
        wait_until(self.ready, what=AMQP_URL, seconds=_START_SECONDS)
        return self

    def ready(self) -> bool:
        parts = urlsplit(self.url)
        return answers_amqp(parts.hostname or LOOPBACK, parts.port or 5672)

    def ctl(self, *arguments: str) -> str:
        self.refuse("rabbitmqctl " + " ".join(arguments))

    def evaluate(self, expression: str) -> None:
        self.refuse(f"evaluate {expression}")

    def create_vhost(self, name: str) -> None:
        user = quote(urlsplit(self.url).username or "guest", safe="")
        rights = {"configure": ".*", "write": ".*", "read": ".*"}
        self._request("PUT", f"/api/vhosts/{quote(name, safe='')}", {})
        self._request("PUT", f"/api/permissions/{quote(name, safe='')}/{user}", rights)

    def delete_vhost(self, name: str) -> None:
        self._request("DELETE", f"/api/vhosts/{quote(name, safe='')}", None)

    def _request(self, method: str, path: str, body: dict[str, str] | None) -> None:
        secure = self._api.scheme == "https"
        connection_type = HTTPSConnection if secure else HTTPConnection
        connection = connection_type(self._api.hostname or LOOPBACK, self._api.port, timeout=_ANSWER_SECONDS)
        credentials = f"{unquote(self._api.username or 'guest')}:{unquote(self._api.password or 'guest')}"
        authorization = "Basic " + b64encode(credentials.encode()).decode()
        headers = {"Authorization": authorization, "Content-Type": "application/json"}
        try:
            connection.request(method, self._api.path.rstrip("/") + path, json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        except (OSError, HTTPException) as error:
            message = f"{AMQP_API_URL}: {method} {path}: {error!r}"
            raise ServiceError(message) from error
        finally:
            connection.close()
        if answer.status >= 400:
            message = f"{AMQP_API_URL}: {method} {path}: {answer.status} {text}"
            raise ServiceError(message)


class ExternalMongoDB(ExternalService, MongoDB):
    """The server of AGENTBUS_TEST_MONGO_URL."""

    variable = MONGO_URL

    def start(self) -> Self:
        milliseconds = int(_START_SECONDS * 1000)
        with MongoClient[dict[str, Any]](self.url, serverSelectionTimeoutMS=milliseconds) as client:
            try:
                client.admin.command("ping")
            except PyMongoError as error:
                message = f"{MONGO_URL} can't be used: {error}"
                raise StartFailed(message) from error
        return self


class _ExternalSql(ExternalService, SqlServer):
    def start(self) -> Self:
        wait_until(self.answers, what=self.variable, seconds=_START_SECONDS)
        return self


class ExternalPostgreSQL(_ExternalSql, PostgreSQL):
    """The server of AGENTBUS_TEST_POSTGRESQL_URL."""

    variable = POSTGRESQL_URL


class ExternalMariaDB(_ExternalSql, MariaDB):
    """The server of AGENTBUS_TEST_MARIADB_URL."""

    variable = MARIADB_URL


class ExternalRedis(ExternalService, RedisServer):
    """The server of AGENTBUS_TEST_REDIS_URL."""

    variable = REDIS_URL

    def start(self) -> Self:
        wait_until(self.answers, what=self.variable, seconds=_START_SECONDS)
        return self
