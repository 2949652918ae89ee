"""Workers as processes of their own."""

import asyncio
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.harness.patience import PATIENCE
from tests.harness.processes import ROOT
from tests.harness.warm import Process, begin

WORKER: Final = ("-m", "agentbus", "worker")
"""Arguments of Python that run a worker as users do, once its kind is named too."""

_POLL: Final = 0.02
_TAIL: Final = 2_000


@dataclass
class Worker:
    """A worker process that was started."""

    kind: str
    name: str
    process: Process
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
        async with asyncio.timeout(PATIENCE):
            while self.running:
                await asyncio.sleep(_POLL)


class Fleet:
    """Starts, ends and freezes workers, knows when each died, and starts new ones for those that crashed.

    `program` is what a kind is added to: `WORKER`, or a module that has instruments inside. Such a one finds its
    folder and its name in HARNESS_FOLDER and HARNESS_WORKER.
    """

    def __init__(self, folder: Path, env: Mapping[str, str], program: Sequence[str] = WORKER) -> None:
        self.folder = folder
        self.env = dict(env)
        """What all workers started from now on have in their environment."""
        self.deaths: dict[str, float] = {}
        self.changes: list[float] = []
        self.workers: list[Worker] = []
        self._program = program
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

    @property
    def crashed(self) -> list[Worker]:
        """Those that ended, though nobody asked them to."""
        return [worker for worker in self.workers if not worker.running and not worker.stopped_by_us]

    async def start(
        self, count: int = 1, *, kind: str = "session", env: Mapping[str, str] | None = None
    ) -> list[Worker]:
        """Start workers and wait until they work. Raises TimeoutError, RuntimeError if one ends instead."""
        started = [self.launch(kind, env=env) for _ in range(count)]
        for worker in started:
            await self.until_ready(worker)
        return started

    def launch(
        self, kind: str = "session", *, options: Sequence[str] = (), env: Mapping[str, str] | None = None
    ) -> Worker:
        """Start a worker without waiting for it; `env` is beside or instead of what all have."""
        name = f"{kind}{len(self.workers) + 1}"
        log = self.folder / f"{name}.log"
        own = {"HARNESS_FOLDER": str(self.folder), "HARNESS_WORKER": name}
        with log.open("wb") as output:
            process = begin(
                [*self._program, kind, *options],
                cwd=ROOT,
                env={**os.environ, **self.env, **own, **(env or {})},
                stdout=output.fileno(),
                stderr=output.fileno(),
            )
        worker = Worker(kind, name, process, log)
        self.workers.append(worker)
        self.changes.append(time.monotonic())
        return worker

    async def until_ready(self, worker: Worker) -> None:
        """Wait until a worker works. Raises TimeoutError, RuntimeError if it ends instead."""
        async with asyncio.timeout(PATIENCE):
            while "worker_started" not in (said := worker.log.read_text("utf-8", errors="replace")):
                if not worker.running:
                    raise RuntimeError(f"{worker.name} ended with {worker.process.returncode}:\n{said[-_TAIL:]}")
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
            for worker in self.crashed:
                self.deaths.setdefault(worker.name, time.monotonic())
                worker.stopped_by_us = True
                self.launch(worker.kind)
            await asyncio.sleep(_POLL)
