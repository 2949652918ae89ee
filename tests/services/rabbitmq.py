"""A private RabbitMQ broker from local programs.

The variables are those of https://www.rabbitmq.com/docs/configure#supported-environment-variables
"""

import itertools
import os
import socket
import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import ClassVar
from urllib.parse import quote, urlsplit
from uuid import uuid4

from tests.services.erlang import Epmd, erlang_environment, loading_at_once, write_cookie
from tests.services.errors import ServiceError
from tests.services.local import LocalService
from tests.services.node import RabbitNode
from tests.services.ports import LOOPBACK, free_port
from tests.services.programs import rabbitmq_program
from tests.services.service import Service

# The first thing an AMQP 0-9-1 client sends, and the type of the method frame that answers it.
_PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
_METHOD_FRAME = b"\x01"

# The Erlang expression that writes what was declared: Mnesia's log (queues, bindings) and every disk table, such as
# Ra's names.dets, which are otherwise saved later. Killed at once, a broker forgets a binding once in four times.
SYNC = "mnesia:sync_log(), lists:foreach(fun dets:sync/1, dets:all())"

_ON_LOOPBACK = "-kernel inet_dist_use_interface {127,0,0,1}"

# As many threads as tests need: the default is 10 for files alone, which wait for each other.
_THREADS = "+S 2:2 +SDcpu 1:1 +SDio 1 +A 1"

# Quorum queues keep up to this much in memory before it goes to segments; the default is 512 MB. It is no line of
# rabbitmq.conf: without that file a start takes 0.5 s of a processor less, as no schema is read.
_WAL = "-ra wal_max_size_bytes 67108864"

# How long, and how often, a virtual host is tried to be deleted; and what the broker says when it is not there.
_REMOVAL_SECONDS = 30.0
_REMOVAL_PAUSE = 0.2
_NO_SUCH_VHOST = "no_such_vhost"


class RabbitMQ(Service):
    """A RabbitMQ broker whose virtual hosts keep tests apart."""

    @abstractmethod
    def ctl(self, *arguments: str) -> str:
        """Run `rabbitmqctl` on this node and return its output, without headings. Raises ServiceError when it fails."""

    @abstractmethod
    def evaluate(self, expression: str) -> None:
        """Evaluate an Erlang expression on this node. Raises ServiceError unless it gives `ok`."""

    @abstractmethod
    def ready(self) -> bool:
        """Whether it answers a client now."""

    def create_vhost(self, name: str) -> None:
        """Create a virtual host and give the URL's user all permissions on it."""
        self.evaluate(adding_vhost(name, "guest"))

    def delete_vhost(self, name: str) -> None:
        """Delete a virtual host with all that is in it."""
        self.evaluate(deleting_vhost(name))

    def sync(self) -> None:
        """Write the node's registries to disk now, so that a kill loses no queue declared before.

        RabbitMQ 3.10 writes the registry of quorum queues about a second late. A node killed earlier knows such
        a queue after its restart, but never finds its leader: each use of it hangs, confirmed messages or not.
        """
        self.evaluate(SYNC)

    def vhost_url(self, name: str) -> str:
        """Return the URL of one virtual host."""
        return urlsplit(self.url)._replace(path="/" + quote(name, safe="")).geturl()

    @contextmanager
    def fresh_vhost(self) -> Iterator[str]:
        """Give the URL of a new virtual host, deleted afterwards; a broker left dead or paused is revived."""
        name = f"test-{uuid4().hex[:12]}"
        self.start().create_vhost(name)
        try:
            yield self.vhost_url(name)
        finally:
            self._remove_vhost(name)

    @contextmanager
    def lasting_vhost(self) -> Iterator[str]:
        """Give the URL of a new virtual host that the broker still knows when it was killed.

        It is deleted afterwards, but left to a broker that is dead: just revived, its queues have no leaders yet.
        Raises NotOurs for a broker that is somebody else's.
        """
        name = f"test-{uuid4().hex[:12]}"
        self.start().create_vhost(name)
        self.sync()
        try:
            yield self.vhost_url(name)
        finally:
            self.resume()
            if self.ready():
                self._remove_vhost(name)
                self.sync()

    def _remove_vhost(self, name: str) -> None:
        """Delete a virtual host, again while the broker fails to: one just revived may lose its queues' leaders.

        RabbitMQ 3.10's supervisor of dead-letter workers ends when its children crash too often, as they do while
        a broker recovers, and takes with it the leader that is being told to delete its queue. Both are started anew.
        """
        by = time.monotonic() + _REMOVAL_SECONDS
        while True:
            try:
                self.start().delete_vhost(name)
            except ServiceError as error:
                if _NO_SUCH_VHOST in str(error):  # an earlier attempt deleted it, and failed afterwards
                    return
                if time.monotonic() > by:
                    raise
                time.sleep(_REMOVAL_PAUSE)
            else:
                return


class LocalRabbitMQ(RabbitMQ, LocalService):
    """A broker of our own: node name, ports, data, cookie and port mapper are shared with no other project.

    `plugins` are enabled, `config` holds lines of rabbitmq.conf. Brokers of one Python process can form
    a cluster (`join`).
    """

    name: ClassVar[str] = "rabbitmq"
    _numbers: ClassVar[Iterator[int]] = itertools.count(1)

    def __init__(self, *, plugins: Sequence[str] = (), config: Mapping[str, str] | None = None) -> None:
        self._server = str(rabbitmq_program("rabbitmq-server"))
        self._epmd = Epmd.acquire()
        self._closed = False
        super().__init__()
        self.node = f"agentbus-{os.getpid()}-{next(self._numbers)}@localhost"
        write_cookie(self.folder)
        (self.folder / "enabled_plugins").write_text(f"[{','.join(plugins)}].\n")
        (self.folder / "conf.d").mkdir()
        if config:
            (self.folder / "rabbitmq.conf").write_text("".join(f"{key} = {value}\n" for key, value in config.items()))
        self._loading = self.folder / "loading"
        self._loading.write_text(loading_at_once("rabbitmq_prelaunch", "rabbit", *plugins))

    def _choose_ports(self) -> None:
        super()._choose_ports()
        self._distribution_port = free_port()

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@{LOOPBACK}:{self.port}/"

    @property
    def epmd_pid(self) -> int:
        """The process id of the port mapper that this process's brokers share."""
        return self._epmd.pid

    def command(self) -> Sequence[str]:
        return [self._server]

    def environment(self) -> Mapping[str, str]:
        return self._environment | {"ERL_AFLAGS": f"-run file eval {self._loading}"}

    @property
    def _environment(self) -> dict[str, str]:
        """That of the broker, and of the programs that tell it what to do."""
        folder = str(self.folder)
        own = {
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_NODE_IP_ADDRESS": LOOPBACK,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_MNESIA_BASE": f"{folder}/data",
            "RABBITMQ_LOG_BASE": folder,
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/enabled_plugins",
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
            "RABBITMQ_CONFIG_FILES": f"{folder}/conf.d",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{folder}/advanced.config",
            "RABBITMQ_CONF_ENV_FILE": f"{folder}/rabbitmq-env.conf",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"{_THREADS} {_WAL} {_ON_LOOPBACK}",
            "RABBITMQ_CTL_ERL_ARGS": _ON_LOOPBACK,
            "RABBITMQ_CTL_DIST_PORT_MIN": "0",
            "RABBITMQ_CTL_DIST_PORT_MAX": "0",
            # Makes the start script become the Erlang machine, so that signals reach the broker itself.
            "RUNNING_UNDER_SYSTEMD": "true",
        }
        return erlang_environment(self.folder, self._epmd) | own

    def ready(self) -> bool:
        return answers_amqp(LOOPBACK, self.port)

    @property
    def told(self) -> RabbitNode:
        """How to tell the broker what to do; from another process as well."""
        return RabbitNode(self.node, self._environment)

    def ctl(self, *arguments: str) -> str:
        return self.told.ctl(*arguments)

    def evaluate(self, expression: str) -> None:
        self.told.evaluate(expression, lambda: self.running)

    def join(self, other: "LocalRabbitMQ") -> None:
        """Make this node, emptied, a member of the other's cluster. Both must run in this Python process."""
        self.ctl("stop_app")
        self.ctl("reset")
        self.ctl("join_cluster", other.node)
        self.ctl("start_app")

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            super().close()
            self._epmd.release()


def adding_vhost(name: str, user: str) -> str:
    """Write the Erlang expression that creates a virtual host and gives a user all permissions on it."""
    return f"rabbit_vhost:add({_binaries(name, user)}), {permitting(name, user, '.*', '.*', '.*')}"


def deleting_vhost(name: str) -> str:
    """Write the Erlang expression that deletes a virtual host."""
    return f"rabbit_vhost:delete({_binaries(name, 'guest')})"


def adding_user(name: str, password: str) -> str:
    """Write the Erlang expression that does what `rabbitmqctl add_user` does."""
    return f"rabbit_auth_backend_internal:add_user({_binaries(name, password, 'guest')})"


def deleting_user(name: str) -> str:
    """Write the Erlang expression that does what `rabbitmqctl delete_user` does."""
    return f"rabbit_auth_backend_internal:delete_user({_binaries(name, 'guest')})"


def permitting(vhost: str, user: str, configure: str, write: str, read: str) -> str:
    """Write the Erlang expression that does what `rabbitmqctl set_permissions` does."""
    rights = _binaries(user, vhost, configure, write, read, "guest")
    return f"rabbit_auth_backend_internal:set_permissions({rights})"


def _binaries(*texts: str) -> str:
    r"""Write texts as Erlang does, separated by commas; of ASCII, as a `\` and a `"` alone are escaped."""
    escaped = (text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return ", ".join(f'<<"{text}">>' for text in escaped)


def answers_amqp(host: str, port: int) -> bool:
    """Whether an AMQP 0-9-1 server answers there; a paused one accepts connections and does not."""
    try:
        with socket.create_connection((host, port), timeout=2.0) as connection:
            connection.sendall(_PROTOCOL_HEADER)
            return connection.recv(1) == _METHOD_FRAME
    except OSError:
        return False
