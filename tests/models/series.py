"""Playing many worlds, in as many processes as there are cores."""

import asyncio
import multiprocessing
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from random import Random
from time import perf_counter
from typing import Final

from tests.harness.program import quieten
from tests.models import library_run, workers
from tests.models.finding import Finding, Model, Play
from tests.models.library_world import Services
from tests.tour.world import Mode

SIZES: Final = {Model.LIBRARY: 500, Model.WORKERS: 200}
"""Steps after which a new world begins."""

SHARES: Final = {
    Model.LIBRARY: {Mode.MEMORY: 50, Mode.FILES: 15, Mode.SQLITE: 15, Mode.MONGODB: 10, Mode.DISTRIBUTED: 10},
    Model.WORKERS: {Mode.MEMORY: 80, Mode.SQLITE: 20},
}
"""Of a hundred steps, how many are in which mode."""

PATIENCE: Final = 1800.0
"""Seconds within which a world comes to its end, however busy the machine is."""
WORLDS_A_PROCESS: Final = 50
"""After so many a process is replaced."""


@dataclass(frozen=True)
class World:
    """What is played at one go."""

    model: Model
    mode: Mode
    seed: int
    steps: Sequence[int]

    @property
    def name(self) -> str:
        """What is played and how: what steps are counted by."""
        return f"{self.model} {self.mode}"

    def play(self, there: Services, counts: Counter[str] | None = None) -> Play:
        """Return what takes steps in such a world."""
        if self.model is Model.WORKERS:
            return partial(workers.play, self.seed, sqlite=self.mode is Mode.SQLITE, counts=counts)
        return partial(library_run.play, self.mode, self.seed, services=there, counts=counts)


@dataclass(frozen=True)
class Played:
    """What came of a world."""

    world: World
    taken: int
    found: Finding | None
    counts: Counter[str]


@dataclass(frozen=True)
class _Ready:
    """A virtual host, or a database, that is there: another process made it, and takes it away."""

    url: str

    @contextmanager
    def fresh_vhost(self) -> Iterator[str]:
        yield self.url

    @contextmanager
    def fresh_database(self) -> Iterator[str]:
        yield self.url


@dataclass
class Tally:
    """What was played so far."""

    steps: Counter[str] = field(default_factory=Counter)
    """By model and mode."""
    clean: Counter[str] = field(default_factory=Counter)
    """Those of them after which nothing was found in their world."""
    counts: Counter[str] = field(default_factory=Counter)
    findings: int = 0
    begun: float = field(default_factory=perf_counter)

    def add(self, played: Played) -> None:
        """Count a world."""
        self.steps[played.world.name] += played.taken
        self.clean[played.world.name] += 0 if played.found else played.taken
        self.counts.update({f"{played.world.model}.{name}": many for name, many in played.counts.items()})
        self.findings += played.found is not None

    @property
    def seconds(self) -> float:
        return perf_counter() - self.begun

    @property
    def rate(self) -> float:
        """Steps a second."""
        return self.steps.total() / max(self.seconds, 0.001)


def worlds_of(models: Sequence[Model], modes: Sequence[Mode], steps: int, seed: int) -> list[World]:
    """Return the worlds of a series, of so many steps for each model, in an order that mixes them."""
    found: list[World] = []
    for model in models:
        shares = {mode: share for mode, share in SHARES[model].items() if mode in modes}
        for mode, share in shares.items():
            left = -(-steps * share // sum(shares.values()))
            while left > 0:
                found.append(World(model, mode, seed + len(found), range(min(SIZES[model], left))))
                left -= SIZES[model]
    Random(seed).shuffle(found)
    return found


def play_all(worlds: Sequence[World], there: Services, jobs: int) -> Iterator[Played]:
    """Play worlds, `jobs` of them at a time; yield what came of each as it ends."""
    if jobs == 1:
        for world in worlds:
            yield _played(world, there)
        return
    left, running = list(reversed(worlds)), dict[Future[Played], ExitStack]()
    with ExitStack() as places, _processes(jobs) as pool:
        while left or running:
            while left and len(running) < jobs:
                place = places.enter_context(ExitStack())
                running[pool.submit(_played, left[-1], places_of(left.pop(), there, place))] = place
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                running.pop(done).close()
                yield done.result()


@contextmanager
def _processes(jobs: int) -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(
        jobs,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=quieten,
        max_tasks_per_child=WORLDS_A_PROCESS,
    ) as pool:
        yield pool


def places_of(world: World, there: Services, place: ExitStack) -> Services:
    """Make the virtual host and the database of a world that another process plays."""
    broker = there.broker if world.mode is Mode.DISTRIBUTED else None
    mongo = there.mongo if world.mode in {Mode.MONGODB, Mode.DISTRIBUTED} else None
    return Services(
        _Ready(place.enter_context(broker.fresh_vhost())) if broker else None,
        _Ready(place.enter_context(mongo.fresh_database())) if mongo else None,
    )


def _played(world: World, there: Services) -> Played:
    return asyncio.run(_play(world, there))


async def _play(world: World, there: Services) -> Played:
    counts = Counter[str]()
    try:
        async with asyncio.timeout(PATIENCE):
            found = await world.play(there, counts)(world.steps)
    except TimeoutError:
        wrong = (f"it did not end within {PATIENCE:g} s",)
        found = Finding(world.model, world.mode, world.seed, tuple(world.steps), (), wrong)
    return Played(world, len(found.steps) if found else len(world.steps), found, counts)
