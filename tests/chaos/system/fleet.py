"""Session workers as processes of their own."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.harness.processes import ROOT

PROGRAM: Final = ("-m", "tests.chaos.worker_main")
"""Arguments of Python that run a session worker with instruments inside."""

_POLL: Final = 0.02
_PATIENCE: Final = 60.0


@dataclass
class Worker:
    """A worker process that was started."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    stopped_by_us: bool = False

    @property
    def pid(self) -> int:
        """Its process id, which its heartbeats tell too."""
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there, frozen or not."""
        return self.process.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    async def ended(self) -> None:
        """Wait until the process is gone. Raises TimeoutError."""
        async with asyncio.timeout(_PATIENCE):
            while self.running:
                await asyncio.sleep(_POLL)


class Fleet:
    """Starts, ends and freezes workers, knows when each died, and starts new ones for those that crashed."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self.folder = folder
        self.deaths: dict[str, float] = {}
        self.changes: list[float] = []
        self.workers: list[Worker] = []
        self._env = dict(env)
        self._started = 0
        self._reviver: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.revive(on=False)
        for worker in self.workers:
            if worker.running:
                worker.send(signal.SIGKILL)
                worker.process.wait()

    @property
    def running(self) -> list[Worker]:
        """The workers that are there, oldest first."""
        return [worker for worker in self.workers if worker.running]

    async def start(self, count: int = 1, *, env: Mapping[str, str] | None = None) -> list[Worker]:
        """Start workers and wait until they take inputs. Raises TimeoutError, RuntimeError if one ends instead."""
        started = [self.launch(env) for _ in range(count)]
        for worker in started:
            await self.until_ready(worker)
        return started

    def launch(self, env: Mapping[str, str] | None = None, *, program: Sequence[str] = PROGRAM) -> Worker:
        """Start a worker, or another `program` (arguments of Python), without waiting for it."""
        self._started += 1
        name = f"w{self._started}"
        log = self.folder / f"{name}.log"
        instruments = {"CHAOS_FOLDER": str(self.folder), "CHAOS_WORKER": name}
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, *program],
                cwd=ROOT,
                env={**os.environ, **self._env, **instruments, **(env or {})},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        worker = Worker(name, process, log)
        self.workers.append(worker)
        self.changes.append(time.monotonic())
        return worker

    async def until_ready(self, worker: Worker) -> None:
        """Wait until a worker takes inputs."""
        async with asyncio.timeout(_PATIENCE):
            while "worker_started" not in worker.log.read_text("utf-8", errors="replace"):
                if not worker.running:
                    raise RuntimeError(f"{worker.name} ended with {worker.process.returncode}: see {worker.log}")
                await asyncio.sleep(_POLL)
        self.changes.append(time.monotonic())

    async def kill(self, worker: Worker) -> None:
        """SIGKILL a worker: a crash."""
        worker.stopped_by_us = True
        self.deaths[worker.name] = time.monotonic()  # what it did later than this it did not do
        worker.send(signal.SIGKILL)
        await self.gone(worker)

    async def stop(self, *workers: Worker) -> None:
        """SIGTERM workers and wait until they have drained and gone."""
        for worker in workers:
            worker.stopped_by_us = True
            worker.send(signal.SIGTERM)
        for worker in workers:
            await self.gone(worker)

    async def gone(self, worker: Worker) -> None:
        """Wait until a worker has ended, and note when."""
        await worker.ended()
        self.deaths.setdefault(worker.name, time.monotonic())
        self.changes.append(time.monotonic())

    async def revive(self, *, on: bool) -> None:
        """Start a new worker whenever one ends that we did not end, as an orchestrator would; or no longer."""
        if self._reviver is not None:
            self._reviver.cancel()
            await asyncio.wait({self._reviver})
            if not self._reviver.cancelled():
                self._reviver.result()  # it never returns: this raises what ended it
            self._reviver = None
        if on:
            self._reviver = asyncio.create_task(self._revive())

    async def _revive(self) -> None:
        while True:
            for worker in self._crashed():
                self.deaths.setdefault(worker.name, time.monotonic())
                worker.stopped_by_us = True
                self.launch()
            await asyncio.sleep(_POLL)

    def _crashed(self) -> Sequence[Worker]:
        return [worker for worker in self.workers if not worker.running and not worker.stopped_by_us]
