"""The mutation check: with a mechanism turned off, the checker has to report a violation."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from shutil import rmtree
from typing import Any, Final

from tests.chaos.campaign import Result, run_campaign
from tests.chaos.faults import fault_named
from tests.chaos.inside.mutants import Mutant
from tests.harness.system.backends import Services

REVEALED_BY: Final[Mapping[Mutant, str]] = {
    Mutant.FENCING: "sigstop_wakes_in_the_middle",
    Mutant.DEDUPE: "kill_after_append",
    Mutant.HAND_BACK: "hand_back_with_backlog",
    Mutant.LANE_ORDER: "hot_conversation",
    Mutant.ACK_LAST: "kill_after_head",
}
"""The fault that shows what each mechanism is for."""

_REPEATS: Final = (1, 2, 3, 4)
"""Repeats of one attempt after the other: most mutants show at once, some need luck."""


@dataclass(frozen=True, slots=True)
class Trial:
    """Whether a mutant was caught."""

    mutant: StrEnum
    fault: str
    violated: tuple[str, ...]
    example: str = ""
    seconds: float = 0.0

    @classmethod
    def of(cls, mutant: StrEnum, result: Result, seconds: float) -> "Trial":
        """Return what a campaign without a mechanism shows; its evidence is that of what was asked for, and goes."""
        if result.folder is not None:
            rmtree(result.folder)
        example = next((words for one in result.verdict.findings for words in one.examples), "")
        return cls(mutant, result.fault, result.verdict.violated, example, seconds)

    @property
    def caught(self) -> bool:
        """Whether the checker reported a violation."""
        return bool(self.violated)

    def as_dict(self) -> dict[str, Any]:
        """Return the trial as JSON values."""
        return {
            "mutant": self.mutant,
            "fault": self.fault,
            "caught": self.caught,
            "violated": self.violated,
            "example": self.example,
            "seconds": round(self.seconds, 1),
        }


async def try_mutant(services: Services, mutant: Mutant, *, seed: int) -> Trial:
    """Run the fault that should reveal `mutant`, a few times at most."""
    fault = fault_named(REVEALED_BY[mutant])
    seconds = 0.0
    for attempt, repeats in enumerate(_REPEATS):
        env = {"CHAOS_MUTANT": mutant}
        result = await run_campaign(services, fault, repeats=repeats, seed=seed + attempt, env=env)
        seconds += result.seconds
        trial = Trial.of(mutant, result, seconds)
        if trial.caught:
            break
    return trial
