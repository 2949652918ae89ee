"""Services in containers, through testcontainers, for a machine with a Docker engine.

testcontainers is imported only where it is used: that takes time, and most runs don't need it.
"""

import gc
import os
import threading
import warnings
from abc import abstractmethod
from typing import Any, ClassVar, Self

from tests.services.errors import ServiceError
from tests.services.mariadb import MariaDB
from tests.services.mongodb import MongoDB, answers_mongodb
from tests.services.ports import free_port
from tests.services.postgresql import PostgreSQL
from tests.services.rabbitmq import RabbitMQ, answers_amqp
from tests.services.redis import RedisServer
from tests.services.service import Service, wait_until
from tests.services.sql import USER

_START_SECONDS = 120.0
_STOP_SECONDS = 30
_ANSWER_SECONDS = 5

# What is warned of is set for the process: of two threads that ask Docker at once, the first to have its answer would
# undo what the other set, and the socket that this one loses would fail the run. To ask takes 0.07 s of a processor.
_asking = threading.Lock()
_answered: dict[str | None, bool] = {}
"""What was answered, by where it was asked."""


def docker_answers() -> bool:
    """Whether a Docker engine answers where the docker command would look for one. It is asked once."""
    where = os.environ.get("DOCKER_HOST")
    with _asking:
        if where not in _answered:
            _answered[where] = _docker_answers()
        return _answered[where]


def _docker_answers() -> bool:
    from docker.errors import DockerException  # type: ignore[import-untyped]  # no annotations  # noqa: PLC0415 - as above
    from testcontainers.core.docker_client import DockerClient  # noqa: PLC0415 - see the module's docstring

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # when nothing answers, the client forgets a socket
        try:
            DockerClient(timeout=_ANSWER_SECONDS).client.close()
        except DockerException:
            answers = False
        else:
            answers = True
        gc.collect()
    return answers


class _ContainerService(Service):
    image: ClassVar[str]
    inner_port: ClassVar[int]
    environment: ClassVar[dict[str, str]] = {}
    inner_command: ClassVar[str] = ""

    def __init__(self) -> None:
        from testcontainers.core.container import DockerContainer  # noqa: PLC0415 - see the module's docstring

        # The port is chosen here, since Docker would choose another one at each start.
        self._container = DockerContainer(self.image).with_bind_ports(self.inner_port, free_port())
        for name, value in self.environment.items():
            self._container.with_env(name, value)
        if self.inner_command:
            self._container.with_command(self.inner_command)
        self._address: tuple[str, int] | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port for clients. Raises ServiceError when it was never started, or is closed."""
        if self._address is None:
            message = f"the container of {self.image} is not started"
            raise ServiceError(message)
        return self._address

    @abstractmethod
    def ready(self) -> bool:
        """Whether it answers a client now."""

    def start(self) -> Self:
        if self._address is None:
            self._container.start()
            self._address = self._container.get_container_host_ip(), self._container.get_exposed_port(self.inner_port)
        elif self._status() == "exited":
            self._wrapped.start()
        self.resume()
        wait_until(self.ready, what=self.image, seconds=_START_SECONDS)
        return self

    def stop(self) -> None:
        self.resume()
        if self._status() == "running":
            self._wrapped.stop(timeout=_STOP_SECONDS)

    def kill(self) -> None:
        if self._status() in {"running", "paused"}:
            self._wrapped.kill()

    def pause(self) -> None:
        if self._status() == "running":
            self._wrapped.pause()

    def resume(self) -> None:
        if self._status() == "paused":
            self._wrapped.unpause()

    def close(self) -> None:
        if self._address is not None:
            self._address = None
            self._container.stop()

    @property
    def _wrapped(self) -> Any:
        return self._container.get_wrapped_container()

    def _status(self) -> str:
        """One of Docker's words: running, paused, exited ..."""
        if self._address is None:
            return "absent"
        self._wrapped.reload()
        return str(self._wrapped.status)


class ContainerRabbitMQ(_ContainerService, RabbitMQ):
    """RabbitMQ in a container."""

    image = "rabbitmq:3.13"
    inner_port = 5672

    @property
    def url(self) -> str:
        host, port = self.address
        return f"amqp://guest:guest@{host}:{port}/"

    def ready(self) -> bool:
        return answers_amqp(*self.address)

    def ctl(self, *arguments: str) -> str:
        done = self._container.exec(["rabbitmqctl", "--silent", *arguments])
        output = done.output.decode(errors="replace")
        if done.exit_code != 0:
            message = f"rabbitmqctl {' '.join(arguments)} failed ({done.exit_code}): {output}"
            raise ServiceError(message)
        return output

    def evaluate(self, expression: str) -> None:
        self.ctl("eval", expression + ".")


class ContainerMongoDB(_ContainerService, MongoDB):
    """MongoDB in a container."""

    image = "mongo:7.0"
    inner_port = 27017

    @property
    def url(self) -> str:
        host, port = self.address
        return f"mongodb://{host}:{port}/?directConnection=true"

    def ready(self) -> bool:
        return answers_mongodb(self.url)


class ContainerPostgreSQL(_ContainerService, PostgreSQL):
    """PostgreSQL in a container."""

    image = "postgres:17"
    inner_port = 5432
    environment = {"POSTGRES_USER": USER, "POSTGRES_PASSWORD": USER}

    @property
    def url(self) -> str:
        host, port = self.address
        return f"postgresql://{USER}:{USER}@{host}:{port}"

    def ready(self) -> bool:
        return self.answers()


class ContainerMariaDB(_ContainerService, MariaDB):
    """MariaDB in a container."""

    image = "mariadb:11.4"
    inner_port = 3306
    environment = {"MARIADB_ROOT_PASSWORD": USER}

    @property
    def url(self) -> str:
        host, port = self.address
        return f"mariadb://root:{USER}@{host}:{port}"

    def ready(self) -> bool:
        return self.answers()


class ContainerRedis(_ContainerService, RedisServer):
    """Redis in a container."""

    image = "redis:7.4"
    inner_port = 6379
    inner_command = "redis-server --appendonly yes --appendfsync always"

    @property
    def url(self) -> str:
        host, port = self.address
        return f"redis://{host}:{port}/0"

    def ready(self) -> bool:
        return self.answers()
