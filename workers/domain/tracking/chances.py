"""When somebody writes again, and when a session ends: said by how it went with others, and held against what came."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from agentbus.workers.domain.tracking.survival import Lifetimes

METHOD: Final = "Kaplan-Meier by whole hours"
HORIZONS: Final = {"hour": 1, "day": 24, "week": 168}
"""Times that chances are told for, in hours."""
LEAST: Final = 20
"""Ended ones that it takes to say anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chances:
    """How likely something is to end within some time, by what others of its age did."""

    within: dict[str, float | None]
    """By `hour`, `day` and `week`; None: nobody is known who was that old."""
    median_hours: int | None
    """Half of them had ended within so many hours; None: less than half did, as far as is known."""
    based_on: int
    """How many others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What is likely to become of a session."""

    session_id: str
    age_hours: int
    silent_hours: int | None
    """Since the person last wrote; None if they never did."""
    returns: Chances | None
    """That the person writes again; None where too little is known."""
    ends: Chances | None
    """That the session ends; None where too little is known, or it is over."""
    method: str = METHOD


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """How far chances were off, of what came later than that which they go by. 0 is best; for concordance 1 is."""

    cases: int
    brier: float | None
    same_for_all: float | None
    """The Brier score of the chance that holds for all, whatever their age."""
    memoryless: float | None
    """That of a hazard which does not change."""
    concordance: float | None


def chances_of(lifetimes: "Lifetimes", age: int) -> Chances | None:
    """Return the chances of what is there after `age` whole hours; None where too little is known."""
    if sum(lifetimes.ended.values()) < LEAST:
        return None
    from agentbus.workers.domain.tracking.survival import kaplan_meier  # noqa: PLC0415 - for who asks

    survival = kaplan_meier(lifetimes)
    within = {name: survival.ends_within(age, hours) for name, hours in HORIZONS.items()}
    return Chances(within=within, median_hours=survival.median_left(age), based_on=lifetimes.count)


def assess(known: "Lifetimes", later: "Lifetimes", horizon: int, ages: Sequence[int]) -> Assessment:
    """Return how far off the chances by `known` were of `later`, asked at each of `ages` that one reached.

    One that is still there and was last seen before the end of the horizon is left out: what came is not known.
    """
    from agentbus.workers.domain.tracking.survival import brier, concordance, kaplan_meier, memoryless  # noqa: PLC0415 - as above

    survival, flat = kaplan_meier(known), memoryless(known)
    base = survival.ends_within(0, horizon) or 0.0
    ours: list[float] = []
    others: list[float] = []
    came: list[bool] = []
    for lifetimes, is_over in ((later.ended, True), (later.still, False)):
        for steps, count in lifetimes.items():
            for age in (age for age in ages if age <= steps and (is_over or steps >= age + horizon)):
                chance, other = survival.ends_within(age, horizon), flat.ends_within(age, horizon)
                ours += [base if chance is None else chance] * count
                others += [base if other is None else other] * count
                came += [is_over and steps < age + horizon] * count
    return Assessment(
        cases=len(came),
        brier=brier(ours, came),
        same_for_all=brier([base] * len(came), came),
        memoryless=brier(others, came),
        concordance=concordance(ours, came),
    )
