"""The workers of a trial, and the one who kills them."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from tests.harness.failpoints import arm
from tests.harness.system.fleet import Fleet, Worker
from tests.reactive.inside import ON_TRIAL
from tests.reactive.inside.failpoints import Failpoint

_POLL: Final = 0.02
_ARMED: Final = 3.0
"""Seconds that an armed worker has to come by; then it is killed where it is."""


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
    env: Mapping[str, str] = field(default_factory=dict)
    """What those that take their place have in their environment beside what all have."""


class Crew(Fleet):
    """Kills workers of one kind again and again, and starts others in their place."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        super().__init__(folder, env, ON_TRIAL)
        self.kills: list[Kill] = []

    @asynccontextmanager
    async def dying(self, plan: Dying, random: Random) -> AsyncIterator[None]:
        """Kill workers of a kind again and again and start others; all are there again at the end."""
        wanted = len(self._mortal(plan))
        stop = asyncio.Event()
        killer = asyncio.create_task(self._kill_on(plan, random, stop))
        try:
            yield
        finally:
            stop.set()
            await killer
        await self.start(wanted - len(self._mortal(plan)), kind=plan.kind, env=plan.env)

    async def _kill_on(self, plan: Dying, random: Random, stop: asyncio.Event) -> None:
        left: list[Failpoint | None] = []
        while not stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), random.uniform(0.2, 1.8) * plan.every)
                return
            victim = random.choice(self._mortal(plan))
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
                await self.kill(victim)
            await self.start(kind=plan.kind, env=plan.env)
            self.kills.append(Kill(at, time.time(), point))

    def _mortal(self, plan: Dying) -> list[Worker]:
        return [worker for worker in self.running if worker.kind == plan.kind]

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
