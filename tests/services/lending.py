"""One of each service for a run of several processes (pytest-xdist), instead of one for each process.

The process that hands out the tests starts a service when the first of the others asks for it, and ends it with the
run: a RabbitMQ node takes 3 s of a processor to start.

They ask through a socket whose address is in the environment, and are told what a service needs to be used: its URL,
and of RabbitMQ the node as well. Services in containers are not lent: each process has its own.
"""

import os
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any, Final, Self

from tests.services.containers import docker_answers
from tests.services.errors import ServiceError, StartFailed
from tests.services.external import (
    ExternalMariaDB,
    ExternalMongoDB,
    ExternalPostgreSQL,
    ExternalRedis,
    ExternalService,
)
from tests.services.local import START_SECONDS
from tests.services.mariadb import LocalMariaDB
from tests.services.mongodb import LocalMongoDB
from tests.services.node import RabbitNode
from tests.services.ports import LOOPBACK
from tests.services.postgresql import LocalPostgreSQL
from tests.services.rabbitmq import LocalRabbitMQ, RabbitMQ, answers_amqp
from tests.services.redis import LocalRedis
from tests.services.service import Service, wait_until

LENDER: Final = "AGENTBUS_TEST_LENDER"
"""The variable that says where the run's services are asked for; not for anybody to set."""

_KINDS: Final[Mapping[str, Callable[[], Service]]] = {
    "rabbitmq": LocalRabbitMQ,
    "mongodb": LocalMongoDB,
    "postgresql": LocalPostgreSQL,
    "mariadb": LocalMariaDB,
    "redis": LocalRedis,
}

_WHOSE: Final = "all the run"

_ASKING_SECONDS: Final = 2 * START_SECONDS
"""How long it may take until a service is there: somebody else's may be starting before it."""

_SAYING_SECONDS: Final = 10.0
"""How long it may take who has connected to say what is wanted; until then it holds up nobody else."""


class Lender:
    """Starts what is asked for, once, and ends it at its own end. A context manager."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._locks = {kind: threading.Lock() for kind in _KINDS}
        self._lent: dict[str, Any] = {}
        self._serving = threading.Thread(target=self._serve, name="lender")
        self._answering: list[threading.Thread] = []
        self._over = threading.Event()

    def __enter__(self) -> Self:
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="agentbus-lender-"))
        self._listener = self._stack.enter_context(Listener(str(Path(folder) / "socket"), "AF_UNIX", backlog=64))
        self._serving.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End all that was started, after what is being started: nothing is left to a process that ends."""
        self._over.set()
        with Client(self.address, "AF_UNIX") as last:
            last.send(None)
        self._serving.join()
        for answering in self._answering:
            answering.join()
        self._stack.close()

    @property
    def address(self) -> str:
        """Where it is asked."""
        return str(self._listener.address)

    def _serve(self) -> None:
        while not self._over.is_set():
            with suppress(EOFError, OSError):  # who asked is gone
                asking = self._listener.accept()
                answering = threading.Thread(target=self._answer, args=(asking,), name="lending")
                answering.start()
                self._answering.append(answering)

    def _answer(self, asking: "Connection[Any, Any]") -> None:
        with asking, suppress(EOFError, OSError):  # who asked is gone
            if not asking.poll(_SAYING_SECONDS):
                return
            kind = asking.recv()
            if kind is None:
                return
            try:
                asking.send((None if docker_answers() else self._started(kind), ""))
            except ServiceError as error:
                asking.send((None, str(error)))

    def _started(self, kind: str) -> Any:
        with self._locks[kind]:
            if kind not in self._lent:
                service = self._stack.enter_context(_KINDS[kind]())
                told = (service.told,) if isinstance(service, LocalRabbitMQ) else ()
                self._lent[kind] = (service.url, *told)
            return self._lent[kind]


def lent(kind: str) -> Any | None:
    """Return a service of the run's, as who may not stop it sees it; None where each process has its own.

    Raises StartFailed when it could not be started, and when there is no answer.
    """
    address = os.environ.get(LENDER)
    if not address:
        return None
    try:
        with Client(address, "AF_UNIX") as lender:
            lender.send(kind)
            if not lender.poll(_ASKING_SECONDS):
                message = f"{kind}: the run that lends its services did not answer for {_ASKING_SECONDS:g} s"
                raise StartFailed(message)
            given, error = lender.recv()
    except (OSError, EOFError) as gone:
        message = f"{kind}: the run that lends its services is gone: {gone!r}"
        raise StartFailed(message) from gone
    if error:
        raise StartFailed(error)
    return _LENT[kind](*given) if given else None


class LentRabbitMQ(ExternalService, RabbitMQ):
    """The run's broker."""

    def __init__(self, url: str, node: RabbitNode) -> None:
        super().__init__(url, whose=_WHOSE)
        self._node = node

    def start(self) -> Self:
        wait_until(self.ready, what=self._node.name, seconds=START_SECONDS)
        return self

    def ready(self) -> bool:
        return answers_amqp(LOOPBACK, int(self.url.rpartition(":")[2].strip("/")))

    def ctl(self, *arguments: str) -> str:
        return self._node.ctl(*arguments)

    def evaluate(self, expression: str) -> None:
        self._node.evaluate(expression, self.ready)


_LENT: Final[Mapping[str, Callable[..., Service]]] = {
    "rabbitmq": LentRabbitMQ,
    "mongodb": partial(ExternalMongoDB, whose=_WHOSE),
    "postgresql": partial(ExternalPostgreSQL, whose=_WHOSE),
    "mariadb": partial(ExternalMariaDB, whose=_WHOSE),
    "redis": partial(ExternalRedis, whose=_WHOSE),
}
