"""The steps of the tour, by the name that each shows."""

from collections.abc import Awaitable, Callable
from typing import Final

from tests.tour.world import World

Step = Callable[[World], Awaitable[None]]

STEPS: Final[dict[str, Step]] = {}


def subject_of(step: Step) -> str:
    """Return what a step is about: the name of its module."""
    return step.__module__.rpartition(".")[2]


def shows(name: str) -> Callable[[Step], Step]:
    """Make the decorated function the step that shows `name`. It asserts what the name is for."""

    def register(step: Step) -> Step:
        if name in STEPS:
            raise ValueError(f"{name} is shown twice")
        STEPS[name] = step
        return step

    return register
