"""Services that are local programs, each with a folder and ports of its own.

Nothing outlives the Python process that started it, however that ends, SIGKILL included: beside each folder
a guard, a small shell, waits on a pipe that only this process holds. When the pipe closes, the guard kills
the program and removes the folder.
"""

import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

from tests.services.errors import StartFailed
from tests.services.ports import free_port, listens
from tests.services.service import Service, wait_until

START_SECONDS = 180.0
STOP_SECONDS = 30.0
_LOG_TAIL = 3_000
_TAKEN = re.compile(r"already_used|already in use|eaddrinuse", re.IGNORECASE)
_PORTS_TRIED = 5

_GUARD = 'read -r _; pid=$(cat "$0/pid" 2>/dev/null) && kill -s KILL -- "-$pid"; rm -rf -- "$0"'
_RUN = 'echo $$ >pid && exec "$0" "$@"'


class Account(NamedTuple):
    """Who runs a program."""

    user: int
    group: int


def unprivileged() -> Account | None:
    """Return who may run what refuses to be run by root, if that is who we are; None for ourselves."""
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    return Account(nobody.pw_uid, nobody.pw_gid)


def as_account(account: Account | None) -> dict[str, Any]:
    """Return the settings of `subprocess` that run a program so."""
    if account is None:
        return {}
    return {"user": account.user, "group": account.group, "extra_groups": []}


class PrivateFolder:
    """A temporary folder for one program, with its guard."""

    def __init__(self, prefix: str, owner: Account | None = None) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=prefix))
        if owner is not None:
            os.chown(self.path, owner.user, owner.group)
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, str(self.path)], cwd="/", stdin=subprocess.PIPE, start_new_session=True
        )

    def close(self) -> None:
        """Dismiss the guard and remove the folder."""
        self._guard.kill()
        self._guard.communicate()
        shutil.rmtree(self.path, ignore_errors=True)


class Program:
    """One run of a program in its folder: its output goes to the file `log`, its process id to `pid`."""

    def __init__(
        self, folder: Path, command: Sequence[str], env: Mapping[str, str] | None = None, *, by: Account | None = None
    ) -> None:
        self._folder = folder
        # The shell writes its id, then becomes the program, so that the guard always knows whom to end.
        with (folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _RUN, *command],
                env=env,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **as_account(by),
            )

    @property
    def pid(self) -> int:
        """The program's process id; also the id of its process group."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the program itself; after SIGSTOP, wait until all its threads stand still."""
        self._process.send_signal(number)
        if number is signal.SIGSTOP:
            os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def end(self, number: signal.Signals, seconds: float = STOP_SECONDS) -> None:
        """Send a signal that ends it and wait; after `seconds` it is killed."""
        self.send(number)
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        (self._folder / "pid").unlink(missing_ok=True)

    def check(self) -> None:
        """Raise StartFailed, with the end of its output, when it has ended."""
        if not self.running:
            message = f"it ended with code {self._process.returncode}"
            raise StartFailed(message)


class LocalService(Service):
    """A service that is one local program."""

    name: ClassVar[str]

    def __init__(self, *, by: Account | None = None) -> None:
        self._folder = PrivateFolder(f"agentbus-{self.name}-", by)
        self._by = by
        self._choose_ports()
        self._has_run = False
        self._program: Program | None = None
        self._answered: Program | None = None
        self._paused = False

    def _choose_ports(self) -> None:
        """Choose the ports that it will have for good, once it has started on them."""
        self.port = free_port()

    @property
    def folder(self) -> Path:
        """Its configuration, data and output."""
        return self._folder.path

    @property
    def running(self) -> bool:
        """Whether its process exists, paused or not."""
        return self._program is not None and self._program.running

    @property
    def pid(self) -> int:
        """The process id of the server itself. Raises RuntimeError when it was never started."""
        if self._program is None:
            message = f"{self.name} was never started"
            raise RuntimeError(message)
        return self._program.pid

    @abstractmethod
    def command(self) -> Sequence[str]:
        """Return the program and its arguments. Raises MissingProgram."""

    def environment(self) -> Mapping[str, str] | None:
        """Return the program's environment; None means ours."""
        return None

    @abstractmethod
    def ready(self) -> bool:
        """Whether it answers a client now."""

    def start(self) -> Self:
        if self._program is not None and self._program is self._answered and self._goes_on():
            return self
        for left in reversed(range(_PORTS_TRIED)):
            try:
                self._start()
            except StartFailed as error:
                if self._has_run or not left or not _TAKEN.search(str(error)):
                    raise
                self._choose_ports()  # a neighbour took one after it was chosen
            else:
                break
        self._has_run = True
        self._answered = self._program
        return self

    def _goes_on(self) -> bool:
        """Whether it is as it was when it answered: to ask it again costs as much as half a test."""
        return self.running and not self._paused and listens(self.port)

    def _start(self) -> None:
        self.resume()
        if self._program is None or not self._program.running:
            self._program = Program(self.folder, self.command(), self.environment(), by=self._by)
        try:
            wait_until(self.ready, what=self.name, seconds=START_SECONDS, check=self._program.check)
        except StartFailed as error:
            self.kill()
            message = f"{self.name} did not start: {error}\n{self._last_output()}"
            raise StartFailed(message) from None

    def stop(self) -> None:
        self.resume()
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        if self._program is not None and self.running:
            self._program.send(signal.SIGSTOP)
            self._paused = True

    def resume(self) -> None:
        if self._program is not None and self._paused:
            self._program.send(signal.SIGCONT)
        self._paused = False

    def close(self) -> None:
        self.kill()
        self._folder.close()

    def _end(self, number: signal.Signals) -> None:
        if self._program is not None:
            self._program.end(number)
        self._paused = False

    def _last_output(self) -> str:
        log = self.folder / "log"
        return log.read_text(errors="replace")[-_LOG_TAIL:] if log.exists() else "(no output)"
