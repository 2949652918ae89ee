"""Starting our own programs, as users do: their output goes to a file, and they end with the test."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

from tests.harness.patience import PATIENCE
from tests.harness.warm import Process, begin

ROOT: Final = Path(__file__).resolve().parents[2]
_LONGEST: Final = 120.0
"""Seconds that a command may take that ends by itself."""

SHARED_DATA: Final = ROOT.parent / "shared" / "data"


@dataclass
class Program:
    """A program that was started."""

    process: Process
    log: Path

    def output(self) -> str:
        """Return all that it printed so far."""
        return self.log.read_text("utf-8", errors="replace")

    def until_printed(self, text: str) -> None:
        """Wait until it printed `text`."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.output():
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.output()}"
            assert time.monotonic() < deadline, f"never printed {text!r}:\n{self.output()}"
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL: as a crash of the machine would."""
        self.process.kill()
        self.process.wait(PATIENCE)

    def stop(self) -> int:
        """SIGTERM, as an orchestrator would; return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


@contextmanager
def started(*arguments: str, folder: Path, env: Mapping[str, str] | None = None) -> Iterator[Program]:
    """Start `python ARGUMENTS...` and stop it at the end."""
    log = folder / f"{len(list(folder.glob('*.log')))}.log"
    with log.open("wb") as output:
        environment = {**os.environ, **(env or {})}
        process = begin(arguments, cwd=folder, env=environment, stdout=output.fileno(), stderr=output.fileno())
    program = Program(process, log)
    try:
        yield program
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def running_worker(kind: str, *, folder: Path, env: Mapping[str, str]) -> Iterator[Program]:
    """Run `agentbus worker KIND`; the block begins when it works."""
    with started("-m", "agentbus", "worker", kind, folder=folder, env=env) as program:
        program.until_printed("worker_started")
        yield program


def exit_on_sigterm() -> None:
    """Let SIGTERM end this program as Ctrl-C does: first it stops what it started."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


def agentbus(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run `agentbus ARGUMENTS...` to its end."""
    command = ("-m", "agentbus", *arguments)
    environment = {**os.environ, "COLUMNS": "200", **(env or {})}
    with TemporaryFile() as out, TemporaryFile() as err:
        process = begin(command, cwd=ROOT, env=environment, stdout=out.fileno(), stderr=err.fileno())
        try:
            process.wait(_LONGEST)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait(PATIENCE)
        out.seek(0)
        err.seek(0)
        said = out.read().decode(), err.read().decode()
    return subprocess.CompletedProcess(command, process.wait(0), *said)
