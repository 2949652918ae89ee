"""A broker and a store of one's own, for a try: programs that are installed, in a temporary folder, on loopback.

They are reached with passwords made up at their start, and end with this process, however that ends.
"""

import asyncio
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agentbus.contracts.errors import ConfigurationError
from agentbus.contracts.extras import importing_extras
from agentbus.contracts.urls import LOOPBACK
from agentbus.workers.concurrency import afterwards, raise_if_cancelled

START_SECONDS: Final = 120.0
"""Within this time a server answers, or the try ends."""

# Debian's own start script changes to the system's user, folder and broker: those beside it don't.
_DEBIAN_RABBITMQ: Final = "/usr/lib/rabbitmq/bin"
_USER: Final = "agentbus"
# What a server that has its user says to who would make one: the answer to an earlier try came too late.
_THERE_IS_ONE: Final = frozenset({13, 51003})  # Unauthorized, and that the user is there
_LOOK_SECONDS: Final = 0.1
_ANSWER_SECONDS: Final = 2.0
_END_SECONDS: Final = 10.0
_SHOWN: Final = 2_000

# What a client says first, and the type of the frame that answers it: AMQP 0-9-1, sections 2.2.4 and 2.3.5.
_PROTOCOL_HEADER: Final = b"AMQP\x00\x00\x09\x01"
_METHOD_FRAME: Final = b"\x01"

# A shell that waits until this process is gone, and then ends what is left of it.
_GUARD: Final = 'read -r _; for one in "$0"/*/pid; do kill -s KILL -- "-$(cat "$one")"; done; rm -rf -- "$0"'
_RUN: Final = 'echo $$ >pid && exec "$0" "$@"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """Where the servers' programs are."""

    rabbitmq: str
    epmd: str
    mongod: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where the servers are: URLs with passwords in them."""

    amqp_url: str
    store_url: str


def installed_programs() -> tuple[Programs | None, list[str]]:
    """Return the programs, if all are installed, and the names of those that are not."""
    path = os.environ.get("PATH", os.defpath)
    found = {
        "rabbitmq-server": shutil.which("rabbitmq-server", path=os.pathsep.join((_DEBIAN_RABBITMQ, path))),
        "epmd": shutil.which("epmd"),
        "mongod": shutil.which("mongod"),
    }
    rabbitmq, epmd, mongod = found.values()
    missing = [name for name, place in found.items() if place is None]
    if rabbitmq is None or epmd is None or mongod is None:
        return None, missing
    return Programs(rabbitmq=rabbitmq, epmd=epmd, mongod=mongod), []


@asynccontextmanager
async def private_servers(programs: Programs, folder: Path) -> AsyncIterator[Places]:
    """Run a broker and a store of one's own, in a folder as `guarded_folder` gives it.

    Raises ConfigurationError, with what the program said last, if one of them ends or does not answer in time.
    """
    async with _mongod(programs, folder) as store_url, _rabbitmq(programs, folder) as amqp_url:
        yield Places(amqp_url=amqp_url, store_url=store_url)


@asynccontextmanager
async def guarded_folder() -> AsyncIterator[Path]:
    """Give a folder that is removed afterwards, with what runs in it, also if this process is killed."""
    folder = Path(tempfile.mkdtemp(prefix="agentbus-up-"))
    try:
        guard = await asyncio.create_subprocess_exec(
            "/bin/sh", "-c", _GUARD, str(folder), cwd="/", stdin=subprocess.PIPE, start_new_session=True
        )
        try:
            yield folder
        finally:
            with suppress(ProcessLookupError):
                guard.kill()
            await afterwards("end the guard", guard.wait())
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def _rabbitmq(programs: Programs, folder: Path) -> AsyncIterator[str]:
    port, names, distribution = _free_ports(3)
    password = secrets.token_urlsafe(24)
    home = _made(folder / "rabbitmq")
    _write(home / ".erlang.cookie", secrets.token_hex(16))
    _write(
        home / "rabbitmq.conf", f"default_user = {_USER}\ndefault_pass = {password}\nloopback_users.{_USER} = true\n"
    )
    _write(home / "enabled_plugins", "[].\n")
    environment = _without("RABBITMQ_", "ERL_", "NOTIFY_SOCKET") | {
        "HOME": str(home),
        "ERL_EPMD_PORT": str(names),
        "ERL_EPMD_ADDRESS": LOOPBACK,
        "ERL_CRASH_DUMP": str(home / "erl_crash.dump"),
        "LC_ALL": "C.UTF-8",
        "RABBITMQ_NODENAME": f"agentbus-{os.getpid()}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": LOOPBACK,
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_MNESIA_BASE": str(home / "data"),
        "RABBITMQ_LOG_BASE": str(home),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
        "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
        "RABBITMQ_CONFIG_FILES": str(_made(home / "conf.d")),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(home / "advanced.config"),
        "RABBITMQ_CONF_ENV_FILE": str(home / "rabbitmq-env.conf"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        # The start script becomes the server itself then, and signals reach it.
        "RUNNING_UNDER_SYSTEMD": "true",
    }
    epmd = (programs.epmd, "-port", str(names), "-address", LOOPBACK)
    async with _running("epmd", epmd, _made(folder / "epmd"), environment) as names_known:
        await names_known(lambda: _listens(names))
        async with _running("RabbitMQ", (programs.rabbitmq,), home, environment) as answers:
            await answers(lambda: _speaks_amqp(port))
            yield f"amqp://{_USER}:{password}@{LOOPBACK}:{port}/"


@asynccontextmanager
async def _mongod(programs: Programs, folder: Path) -> AsyncIterator[str]:
    [port] = _free_ports(1)
    password = secrets.token_urlsafe(24)
    home = _made(folder / "mongod")
    command = (programs.mongod, "--dbpath", str(_made(home / "data")), "--port", str(port), "--bind_ip", LOOPBACK)
    options = ("--auth", "--nounixsocket", "--wiredTigerCacheSizeGB", "0.5")
    async with _running("MongoDB", (*command, *options), home, None) as answers:
        await answers(lambda: _listens(port))
        await answers(lambda: _has_user(port, password))
        yield f"mongodb://{_USER}:{password}@{LOOPBACK}:{port}/agentbus?authSource=admin&directConnection=true"


async def _has_user(port: int, password: str) -> bool:
    """Make the first user, which a server without any lets a client on the same machine do."""
    with importing_extras():
        from pymongo import AsyncMongoClient  # noqa: PLC0415 - for who has a private store
        from pymongo.errors import PyMongoError  # noqa: PLC0415 - as above

    wait = int(_ANSWER_SECONDS * 1000)
    client = AsyncMongoClient[dict[str, Any]](
        LOOPBACK, port, directConnection=True, serverSelectionTimeoutMS=wait, socketTimeoutMS=wait
    )
    try:
        await client.admin.command("createUser", _USER, pwd=password, roles=["readWriteAnyDatabase", "clusterMonitor"])
    except PyMongoError as error:
        raise_if_cancelled()
        return getattr(error, "code", None) in _THERE_IS_ONE
    finally:
        await afterwards("close a client of MongoDB", client.close())
    return True


_Answers = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]


@asynccontextmanager
async def _running(
    name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str] | None
) -> AsyncIterator[_Answers]:
    """Run a program in its folder; give what waits until it answers, as a function says, or has failed."""
    with (folder / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            _RUN,
            *command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    async def answers(ready: Callable[[], Awaitable[bool]]) -> None:
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await ready():
                    if process.returncode is not None:
                        raise _failed(name, f"ended with code {process.returncode}", folder)
                    await asyncio.sleep(_LOOK_SECONDS)
        except TimeoutError:
            raise _failed(name, f"did not answer within {START_SECONDS:g} s", folder) from None

    try:
        yield answers
    finally:
        await afterwards(f"end {name}", _ended(process))


async def _ended(process: asyncio.subprocess.Process) -> None:
    """End a program, with all that it has started: its data are thrown away with it."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    async with asyncio.timeout(_END_SECONDS):
        await process.wait()


def _failed(name: str, what: str, folder: Path) -> ConfigurationError:
    said = (folder / "log").read_text("utf-8", "replace")[-_SHOWN:].strip()
    return ConfigurationError(f"{name} {what}; --embedded does without it. It said last: {said or 'nothing'}")


async def _listens(port: int) -> bool:
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            _, writer = await asyncio.open_connection(LOOPBACK, port)
            writer.close()
    except OSError:  # a TimeoutError too
        raise_if_cancelled()
        return False
    return True


async def _speaks_amqp(port: int) -> bool:
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            try:
                writer.write(_PROTOCOL_HEADER)
                return await reader.readexactly(1) == _METHOD_FRAME
            finally:
                writer.close()
    except (OSError, asyncio.IncompleteReadError):
        raise_if_cancelled()
        return False


def _free_ports(count: int) -> list[int]:
    """Return ports on which nobody listens now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((LOOPBACK, 0))
        return [one.getsockname()[1] for one in sockets]


def _made(folder: Path) -> Path:
    folder.mkdir(mode=0o700)
    return folder


def _write(path: Path, text: str) -> None:
    """Write a file that nobody else may read."""
    path.touch(mode=0o600)
    path.write_text(text, "utf-8")


def _without(*prefixes: str) -> dict[str, str]:
    """Return our environment without anybody's settings of those names."""
    return {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
