"""What all local services promise: they need their program, and leave nothing behind."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.services import (
    LocalMariaDB,
    LocalMongoDB,
    LocalPostgreSQL,
    LocalRabbitMQ,
    LocalRedis,
    MissingProgram,
    Service,
    StartFailed,
    apt,
    programs,
)
from tests.services.external import AMQP_URL, MARIADB_URL, MONGO_URL, POSTGRESQL_URL, REDIS_URL
from tests.services.install import _mariadb as provide_mariadb
from tests.services.install import install
from tests.services.local import LocalService
from tests.services.ports import LOOPBACK, free_port, listens
from tests.services.service import wait_until

_ORPHAN = """
import signal
import sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background has it ignored
from tests.services import LocalMongoDB
server = LocalMongoDB().start()
print(server.pid, server.folder, flush=True)
sys.stdin.read()
"""


def gone(pid: int) -> bool:
    """Whether a process has ended; one that its new parent has not reaped yet counts as ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def offline(_folder: Path) -> Path:
    raise MissingProgram("offline")


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Become a machine with nothing installed, on which we are not root."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(programs, "DEBIAN_RABBITMQ", tmp_path)
    monkeypatch.setattr(programs, "DEBIAN_POSTGRESQL", tmp_path)
    monkeypatch.setattr(programs, "SYSTEM", tmp_path)
    monkeypatch.setattr(programs, "PROJECT", tmp_path)
    monkeypatch.setattr(apt, "can_install", lambda: False)
    return tmp_path


@pytest.mark.usefixtures("bare_machine")
@pytest.mark.parametrize(
    ("make", "name", "advice"),
    [
        (LocalRabbitMQ, "rabbitmq-server", "apt-get install rabbitmq-server"),
        (LocalMongoDB, "mongod", "make services"),
        (LocalPostgreSQL, "postgres", "apt-get install postgresql"),
        (LocalMariaDB, "mariadbd", "apt-get install mariadb-server-core"),
        (LocalRedis, "redis-server", "apt-get install redis-server"),
    ],
)
def test_a_missing_program_is_an_error_that_says_what_to_do(
    make: Callable[[], Service], name: str, advice: str
) -> None:
    with pytest.raises(MissingProgram, match=f"{name} was not found on PATH") as error:
        make()
    assert advice in str(error.value)


@pytest.mark.usefixtures("bare_machine")
def test_the_set_up_fails_when_it_may_not_install() -> None:
    said: list[str] = []
    with pytest.raises(MissingProgram, match="rabbitmq-server was not found"):
        install(said.append)
    assert said == []


def test_the_set_up_goes_on_where_services_come_from_elsewhere(
    bare_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(AMQP_URL, "amqp://broker.example/")
    monkeypatch.setenv(MONGO_URL, "mongodb://server.example/")
    monkeypatch.setenv(POSTGRESQL_URL, "postgresql://server.example")
    monkeypatch.setenv(MARIADB_URL, "mariadb://server.example")
    monkeypatch.setenv(REDIS_URL, "redis://server.example")
    monkeypatch.setattr("tests.services.install._download", offline)
    said: list[str] = []
    with pytest.raises(MissingProgram, match=r"chromium was not found on PATH.*apt-get install chromium"):
        install(said.append)  # a browser is no service that is somewhere else
    (bare_machine / "chromium").write_text("")
    (bare_machine / "chromium").chmod(0o755)
    said.clear()
    install(said.append)
    broker, fetching, server, *others, browser = said
    assert browser == f"Chromium: {bare_machine / 'chromium'}"
    assert broker.startswith(f"RabbitMQ: given by {AMQP_URL}; local: missing")
    assert "fetching mongod" in fetching
    assert server.endswith("offline")
    given = {"PostgreSQL": POSTGRESQL_URL, "MariaDB": MARIADB_URL, "Redis": REDIS_URL}
    for line, (name, variable) in zip(others, given.items(), strict=True):
        assert line.startswith(f"{name}: given by {variable}; local: missing")


def test_mariadb_is_installed_with_the_program_that_its_script_runs(
    bare_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed: list[str] = []
    monkeypatch.setattr(apt, "can_install", lambda: True)
    monkeypatch.setattr(apt, "install", lambda *packages, **_: installed.extend(packages))
    for name in ("mariadbd", "mariadb-install-db"):
        (bare_machine / name).write_text("")
        (bare_machine / name).chmod(0o755)
    with pytest.raises(MissingProgram, match="my_print_defaults was not found"):
        provide_mariadb(print)
    assert installed == ["mariadb-server-core", "mariadb-client-core"]


def test_the_set_up_command_names_each_program() -> None:
    command = [sys.executable, "-m", "tests.services", "install"]
    done = subprocess.run(command, cwd=programs.PROJECT, capture_output=True, text=True, check=True)
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == [
        "RabbitMQ",
        "MongoDB",
        "PostgreSQL",
        "MariaDB",
        "Redis",
        "Chromium",
    ]


def test_a_program_that_ends_at_once_is_reported_with_its_output() -> None:
    class Broken(LocalService):
        name = "broken"
        url = "none"

        def command(self) -> list[str]:
            return ["/bin/sh", "-c", "echo the disk is full; exit 3"]

        def ready(self) -> bool:
            return False

    with pytest.raises(StartFailed, match=r"ended with code 3\nthe disk is full"), Broken():
        pass


def test_a_closed_service_leaves_no_process_no_port_and_no_folder() -> None:
    with LocalMongoDB() as server:
        pid, folder = server.pid, server.folder
        assert listens(server.port)
    assert gone(pid)
    assert not listens(server.port)
    assert not folder.exists()
    server.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_service_never_outlives_the_process_that_started_it(number: signal.Signals) -> None:
    command = [sys.executable, "-c", _ORPHAN]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=programs.PROJECT, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as owner:
        assert owner.stdout is not None
        pid, folder = owner.stdout.readline().split()
        assert not gone(int(pid))
        os.kill(owner.pid, number)
        owner.wait()
    wait_until(lambda: gone(int(pid)) and not Path(folder).exists(), what="the guard", seconds=10)


def test_free_ports_lie_below_those_of_outgoing_connections() -> None:
    ports = {free_port() for _ in range(20)}
    assert len(ports) > 15
    assert all(15_000 <= port < 30_000 for port in ports)


_LISTENING = """
import pathlib, signal, socket, sys
pathlib.Path("ready").unlink(missing_ok=True)
both = [socket.create_server(("127.0.0.1", int(port))) for port in sys.argv[1:]]
pathlib.Path("ready").touch()
signal.pause()
"""


class Listening(LocalService):
    """A program that listens on two ports, and ends if somebody else does."""

    name = "listening"

    def _choose_ports(self) -> None:
        super()._choose_ports()
        self.second = free_port()

    @property
    def url(self) -> str:
        return f"tcp://{LOOPBACK}:{self.port}"

    def command(self) -> list[str]:
        return [sys.executable, "-c", _LISTENING, str(self.port), str(self.second)]

    def ready(self) -> bool:
        return (self.folder / "ready").exists()


def test_a_port_that_a_neighbour_took_meanwhile_is_left_to_it() -> None:
    service = Listening()
    taken = service.second
    with socket.create_server((LOOPBACK, taken)), service:
        assert service.second != taken
        assert service.running


def test_a_service_that_has_run_never_moves() -> None:
    with Listening() as service:
        service.stop()
        (service.folder / "ready").unlink()
        with socket.create_server((LOOPBACK, service.port)), pytest.raises(StartFailed, match="in use"):
            service.start()
