"""Programs of ours that begin with their libraries imported, in a run of several processes.

One process of the run imports what most of our programs import, and becomes each of them by forking: 1 s of a
processor less for each of the hundreds that tests start. What is started so has its own process, arguments, folder,
environment and output as any other; it is no child of the test's, and has all of these libraries, whatever it imports.
Tests that are taken alone, and the pages that are followed as a reader follows them, start programs as users do.
"""

import gc
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module, invalidate_caches
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

WARM: Final = "AGENTBUS_TEST_WARM"
"""The variable that says where programs are asked for; not for anybody to set."""

_IMPORTED: Final = (
    "agentbus.client",
    "agentbus.composition.running",
    "agentbus.composition.workers",
    "agentbus.sessions",
    "agentbus.storage.mongo",
    "agentbus.storage.sql",
    "agentbus.workers.bus.rabbit",
    "agentbus.workers.expiry",
    "agentbus.workers.ingress",
    "agentbus.workers.session",
    "agentbus.workers.sync",
    "rich.console",
    "rich.table",
    "typer",
)
"""Not the command line itself: its consoles are made as the environment says when they are imported."""

_OWN: Final = ("LANG", "LC_", "PYTHON")
"""Beginnings of the variables that an interpreter reads at its start: who has them otherwise starts one."""

_LONGEST_ASKING: Final = 2**20
_ASKING_SECONDS: Final = 10.0
_ANSWER_SECONDS: Final = 120.0
"""How long it may take until what is asked for is there: it may be asked for while the libraries are imported."""

_POLL: Final = 0.01
_CLOSED: Final = -1
_LENGTH: Final = 4
_FILES: Final = 3
_SHORT: Final = 32
"""Bytes that hold a process id, or an exit code."""


class Warm:
    """A process that was started so, to be used as a `subprocess.Popen`."""

    def __init__(self, arguments: Sequence[str], connection: socket.socket) -> None:
        self.args = [*arguments]
        self.returncode: int | None = None
        self._connection = connection
        self._lock = threading.Lock()
        connection.settimeout(_ANSWER_SECONDS)
        self.pid = self._told()
        connection.setblocking(False)

    def poll(self) -> int | None:
        """Return its exit code, or None while it runs. Raises RuntimeError if whoever started it is gone."""
        with self._lock:
            if self.returncode is None:
                with suppress(BlockingIOError):
                    self.returncode = self._told()
                    self._connection.close()
            return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended. Raises subprocess.TimeoutExpired after so many seconds."""
        by = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if timeout is not None and by is not None and time.monotonic() > by:
                raise subprocess.TimeoutExpired(self.args, timeout)
            time.sleep(_POLL)
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it is there."""
        if self.poll() is None:
            os.kill(self.pid, number)  # its id is nobody else's before its end is known here

    def _told(self) -> int:
        if self._connection.fileno() != _CLOSED and (told := self._connection.recv(_SHORT)):
            return int(told)
        self._connection.close()
        message = f"who starts the programs of this run is gone, or did not understand {self.args}"
        raise RuntimeError(message)

    def terminate(self) -> None:
        """SIGTERM it, if it is there."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL it, if it is there."""
        self.send_signal(signal.SIGKILL)


Process = subprocess.Popen[bytes] | Warm


def begin(
    arguments: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    stdin: int | None = None,
    stdout: int,
    stderr: int,
) -> Process:
    """Start `python ARGUMENTS...`: warm, where the run has such, and it is a module or a text.

    `stdin`, `stdout` and `stderr` are numbers of open files. Raises RuntimeError, OSError.
    """
    with open(os.devnull, "rb") as nothing:
        stdin = nothing.fileno() if stdin is None else stdin
        address = os.environ.get(WARM)
        if address and arguments[0] in {"-c", "-m"} and _of_interpreter(env) == _of_interpreter():
            return _warm(address, arguments, cwd, env, (stdin, stdout, stderr))
        command = [sys.executable, *arguments]
        return subprocess.Popen(command, cwd=cwd, env=env, stdin=stdin, stdout=stdout, stderr=stderr)


def _of_interpreter(env: Mapping[str, str] = os.environ) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(_OWN)}


def _warm(
    address: str, arguments: Sequence[str], cwd: Path, env: Mapping[str, str], files: tuple[int, int, int]
) -> Process:
    asked = json.dumps({"arguments": [*arguments], "cwd": str(cwd), "env": dict(env)}).encode()
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(_ANSWER_SECONDS)
        connection.connect(address)
        socket.send_fds(connection, [len(asked).to_bytes(_LENGTH)], files)
        connection.sendall(asked)
        return Warm(arguments, connection)
    except BaseException:
        connection.close()
        raise


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a process is to become."""

    arguments: list[str]
    cwd: str
    env: dict[str, str]
    files: list[int]
    """Its standard input, output and error."""


def _read(connection: socket.socket) -> _Asked:
    """Read what is asked for. Raises OSError, ValueError."""
    connection.settimeout(_ASKING_SECONDS)
    prefix, files, _, _ = socket.recv_fds(connection, _LENGTH, _FILES)
    try:
        length = int.from_bytes(prefix)
        if len(prefix) < _LENGTH or len(files) != _FILES or length > _LONGEST_ASKING:
            raise ValueError(f"not what is asked: {length} bytes, {len(files)} files")
        parts: list[bytes] = []
        while (left := length - sum(map(len, parts))) > 0:
            if not (part := connection.recv(left)):
                raise ValueError("it ended early")
            parts.append(part)
        return _Asked(**json.loads(b"".join(parts)), files=files)
    except BaseException:
        for file in files:
            os.close(file)
        raise


def _serve(listener: socket.socket, life: int) -> _Asked:
    """Fork a process for each that is asked for, and tell how it ended. Returns in each of them; never here.

    It ends with whoever has the other end of the pipe `life`.
    """
    woken, wakes = socket.socketpair()
    for end in (woken, wakes):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakes.fileno())
    asking: dict[int, socket.socket] = {}
    with selectors.DefaultSelector() as selector:
        for one in (listener, woken):
            selector.register(one, selectors.EVENT_READ)
        selector.register(life, selectors.EVENT_READ)
        while True:
            ready = {key.fileobj for key, _ in selector.select()}
            if life in ready:
                sys.exit()
            if woken in ready:
                woken.recv(1024)
                _tell_ends(asking)
            if listener in ready and (asked := _fork(listener, asking)):
                break
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for one in (listener, woken, wakes, *asking.values()):
        one.close()
    os.close(life)
    return asked


def _fork(listener: socket.socket, asking: dict[int, socket.socket]) -> _Asked | None:
    """Fork a process for who is next. Returns what it is to become there, and None here."""
    connection, _ = listener.accept()
    try:
        asked = _read(connection)
    except (OSError, ValueError, TypeError):
        connection.close()
        return None
    if not (pid := os.fork()):
        connection.close()
        return asked
    for file in asked.files:
        os.close(file)
    asking[pid] = connection
    with suppress(OSError):  # who asked is gone
        connection.sendall(str(pid).encode())
    return None


def _tell_ends(asking: dict[int, socket.socket]) -> None:
    """Tell of each process that has ended before its id can be another's."""
    while asking and (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)):
        code = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
        with asking.pop(ended.si_pid) as connection, suppress(OSError):  # who asked is gone
            connection.sendall(str(code).encode())
        os.waitpid(ended.si_pid, 0)


def _become(asked: _Asked) -> None:
    """Run a program in this process, as the interpreter would that was started for it."""
    os.chdir(asked.cwd)
    os.environ.clear()
    os.environ.update(asked.env)
    time.tzset()
    tempfile.tempdir = None  # the environment says anew where it is
    for number, file in enumerate(asked.files):
        os.dup2(file, number)
        os.close(file)
    invalidate_caches()
    kind, what, *rest = asked.arguments
    sys.argv = [kind, *rest]
    sys.path[0] = asked.cwd if kind == "-m" else ""
    if kind == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        sys.modules["__main__"] = main = ModuleType("__main__")
        exec(compile(what, "<string>", "exec"), vars(main))  # noqa: S102 - what `python -c` does


@contextmanager
def warming() -> Iterator[str]:
    """Have a process that becomes what is asked for; give its address."""
    with tempfile.TemporaryDirectory(prefix="agentbus-warm-") as folder, socket.socket(socket.AF_UNIX) as listener:
        address = str(Path(folder) / "socket")
        listener.bind(address)
        listener.listen(64)
        life, ours = os.pipe()
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(life)],
                stdin=listener.fileno(),
                stdout=subprocess.DEVNULL,
                pass_fds=[life],
            )
        finally:
            os.close(life)
        try:
            yield address
        finally:
            os.close(ours)
            process.wait(_ANSWER_SECONDS)


def pytest_configure(config: pytest.Config) -> None:
    """Have one for a run of several processes."""
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        return
    stack = ExitStack()
    os.environ[WARM] = stack.enter_context(warming())
    config.add_cleanup(stack.close)
    config.add_cleanup(lambda: os.environ.__delitem__(WARM))


if __name__ == "__main__":
    for _module in _IMPORTED:
        import_module(_module)
    assert threading.active_count() == 1, "only its one thread is in a process that is forked"
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=os.dup(0)) as _listener:
        _asked = _serve(_listener, int(sys.argv[1]))
    _become(_asked)
