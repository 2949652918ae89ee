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
from typing import Final

from tests.harness.patience import PATIENCE

ROOT: Final = Path(__file__).resolve().parents[2]
SHARED_DATA: Final = ROOT.parent / "shared" / "data"


@dataclass
class Program:
    """A program that was started."""

    process: subprocess.Popen[bytes]
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
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=folder,
            env={**os.environ, **(env or {})},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
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
    return subprocess.run(
        [sys.executable, "-m", "agentbus", *arguments],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200", **(env or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
