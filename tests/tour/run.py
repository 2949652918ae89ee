"""Taking the tour: every step in every mode, one after the other."""

import traceback
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Final

import tests.tour.steps  # noqa: F401 - it fills STEPS
from agentbus.sessions import SessionSystem
from agentbus.sessions.config import make_config
from tests.services import RabbitMQ
from tests.tour.names import public_names
from tests.tour.registry import STEPS, Step, subject_of
from tests.tour.world import Mode, Place, Stores, World, place_of

_NO_STORES: Final[Stores] = {}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step came to."""

    name: str
    mode: Mode
    seconds: float
    error: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the name does what the step says."""
        return self.error is None


async def tour(
    modes: Sequence[Mode],
    folder: Path,
    broker: RabbitMQ | None = None,
    stores: Stores = _NO_STORES,
    *,
    subjects: Collection[str] | None = None,
) -> list[Outcome]:
    """Take every step in every mode; a public name without a step, or a step without a name, is a failure too.

    With `subjects`, only the steps of these modules are taken.
    """
    names, steps = public_names(), STEPS
    if subjects is not None:
        steps = {name: step for name, step in STEPS.items() if subject_of(step) in subjects}
        names = [name for name in names if name in steps]
    outcomes: list[Outcome] = []
    for mode in modes:
        with place_of(mode, folder, broker, stores) as place:
            outcomes += await _walk(place, names, steps)
    return outcomes


async def _walk(place: Place, names: Sequence[str], steps: Mapping[str, Step]) -> list[Outcome]:
    async with SessionSystem(make_config(**place.settings)) as system:
        world = World(place, system)
        taken: dict[Step, Outcome] = {}  # a step that shows several names is taken once
        for name in (one for one in names if one in steps):
            if (step := steps[name]) not in taken:
                taken[step] = await _taken(world, name, step)
        shown = [replace(taken[steps[name]], name=name) for name in names if name in steps]
    missing = [Outcome(name, place.mode, 0.0, "no step shows it") for name in names if name not in steps]
    gone = [Outcome(name, place.mode, 0.0, "there is no such name") for name in steps if name not in names]
    return shown + missing + gone


async def _taken(world: World, name: str, step: Step) -> Outcome:
    begun = perf_counter()
    try:
        await step(world)
    except Exception as error:
        return Outcome(name, world.place.mode, perf_counter() - begun, _told(error))
    return Outcome(name, world.place.mode, perf_counter() - begun)


def _told(error: Exception) -> str:
    """Return what went wrong, and the line of the step where it did."""
    frame = next(one for one in traceback.extract_tb(error.__traceback__) if "/steps/" in one.filename)
    return f"{type(error).__name__}: {error} (steps/{Path(frame.filename).name}:{frame.lineno}: {frame.line})"
