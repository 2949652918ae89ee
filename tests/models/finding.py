"""What the models find, and the fewest steps that still show it."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tests.tour.world import Mode

TRIES: Final = 200
"""How many runs may be spent on making a finding small."""


class Model(StrEnum):
    """What is played."""

    LIBRARY = "library"
    """The session library, against a model of it."""
    WORKERS = "workers"
    """The sync and the expiry worker, with everything around them in motion."""


@dataclass(frozen=True)
class Finding:
    """What was not as it must be."""

    model: Model
    mode: Mode
    seed: int
    steps: tuple[int, ...]
    """The steps of its world that show it."""
    said: tuple[str, ...]
    """What was done."""
    wrong: tuple[str, ...]

    def __str__(self) -> str:
        """Return it for people."""
        only = ",".join(map(str, self.steps))
        again = f"make models MODEL={self.model} MODE={self.mode} SEED={self.seed} ONLY={only}"
        return "\n".join([f"{self.model}, {self.mode}, {len(self.steps)} steps:", *self.said, *self.wrong, again])


Play = Callable[[Sequence[int]], Awaitable[Finding | None]]
"""Takes steps in a new world; returns the first finding."""


async def smallest(found: Finding, play: Play, *, tries: int = TRIES) -> Finding:
    """Leave out steps for as long as there is a finding without them."""
    size = max(1, len(found.steps) // 2)
    while tries:
        at, smaller = 0, False
        while at < len(found.steps) and tries:
            tries -= 1
            left = found.steps[:at] + found.steps[at + size :]
            if left and (again := await play(left)):
                found, smaller = again, True
            else:
                at += size
        if size == 1 and not smaller:
            break
        size = max(1, size // 2)
    return found
