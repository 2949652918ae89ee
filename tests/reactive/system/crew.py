"""The workers of a trial as processes of their own, and the one who kills them."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Final, Self

from tests.chaos.inside.arming import arm
from tests.harness.processes import ROOT
from tests.reactive.inside import READY
from tests.reactive.inside.failpoints import Failpoint

_POLL: Final = 0.02
_PATIENCE: Final = 60.0
_ARMED: Final = 3.0
"""Seconds that an armed worker has to come by; then it is killed where it is."""


@dataclass
class Worker:
    """A worker process that was started."""

    kind: str
    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self.process.poll() is None

    def kill(self) -> None:
        """SIGKILL: as a crash of the machine would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@dataclass(frozen=True, slots=True)
class Kill:
    """A worker died, and another one took its place; in seconds since 1970, as events tell their time."""

    at: float
    ready_at: float
    point: Failpoint | None
    """The failpoint that it died at; None: at a random moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dying:
    """Which workers die, where, and how often."""

    kind: str
    points: tuple[Failpoint, ...]
    """Beside random moments."""
    every: float
    """Mean seconds from a worker's readiness to the next kill."""
    detour: bool = False
    """Whether those that take their place get events on a detour, as they did."""


class Crew:
    """Starts workers, kills them, and ends them with the trial."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self.folder = folder
        self.env = dict(env)
        """What all workers started from now on have in their environment."""
        self.kills: list[Kill] = []
        self._workers: list[Worker] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            if worker.running:
                worker.kill()

    def running(self, kind: str) -> list[Worker]:
        """Return the workers of a kind that are there."""
        return [worker for worker in self._workers if worker.kind == kind and worker.running]

    async def start(self, kind: str, count: int = 1, *, detour: bool = False) -> list[Worker]:
        """Start workers of a kind and wait until they work. Raises TimeoutError, RuntimeError if one ends instead."""
        started = [self._launch(kind, detour=detour) for _ in range(count)]
        for worker in started:
            await self._until_ready(worker)
        return started

    @asynccontextmanager
    async def dying(self, plan: Dying, random: Random) -> AsyncIterator[None]:
        """Kill workers of a kind again and again and start others; all are there again at the end."""
        wanted = len(self.running(plan.kind))
        stop = asyncio.Event()
        killer = asyncio.create_task(self._kill_on(plan, random, stop))
        try:
            yield
        finally:
            stop.set()
            await killer
        await self.start(plan.kind, wanted - len(self.running(plan.kind)), detour=plan.detour)

    async def _kill_on(self, plan: Dying, random: Random, stop: asyncio.Event) -> None:
        left: list[Failpoint | None] = []
        while not stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), random.uniform(0.2, 1.8) * plan.every)
                return
            victim = random.choice(self.running(plan.kind))
            left = left or random.sample([None, *plan.points], k=len(plan.points) + 1)
            point = left.pop()
            if point:
                arm(self.folder, victim.name, point, hit=random.randint(1, 3))
                deadline = time.monotonic() + _ARMED
                while victim.running and time.monotonic() < deadline:
                    await asyncio.sleep(_POLL)
            at = time.time()
            if victim.running:
                point = None
                victim.kill()
            await self.start(plan.kind, detour=plan.detour)
            self.kills.append(Kill(at, time.time(), point))

    def died_at(self) -> dict[str, int]:
        """Return how many workers were killed at each failpoint, and at random moments."""
        return dict(Counter(str(kill.point or "random_moment") for kill in self.kills))

    def explained(self, start: float, end: float, recovery: float) -> float:
        """Return for how many of the seconds from `start` to `end` a worker was dead or had not recovered yet."""
        seconds, reached = 0.0, start
        for kill in sorted(self.kills, key=lambda kill: kill.at):
            begins, ends = max(kill.at, reached), min(kill.ready_at + recovery, end)
            if ends > begins:
                seconds += ends - begins
                reached = ends
        return seconds

    def _launch(self, kind: str, *, detour: bool) -> Worker:
        name = f"{kind}{len(self._workers) + 1}"
        log = self.folder / f"{name}.log"
        own = {"REACTIVE_FOLDER": str(self.folder), "REACTIVE_WORKER": name, "REACTIVE_DETOUR": "1" if detour else ""}
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.reactive.inside.worker_main", kind],
                cwd=ROOT,
                env={**os.environ, **self.env, **own},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        worker = Worker(kind, name, process, log)
        self._workers.append(worker)
        return worker

    async def _until_ready(self, worker: Worker) -> None:
        async with asyncio.timeout(_PATIENCE):
            while READY not in worker.log.read_text("utf-8", errors="replace"):
                if not worker.running:
                    raise RuntimeError(f"{worker.name} ended with {worker.process.returncode}: see {worker.log}")
                await asyncio.sleep(_POLL)
