"""Durations by size: every one has its step, steps lie side by side, and quantiles are near."""

from random import Random
from statistics import quantiles

import pytest

from agentbus.workers.domain.tracking.scale import least_of, quantile, step_of


def test_steps_lie_side_by_side() -> None:
    for step in range(120):
        assert step_of(least_of(step)) == step
        assert step_of(least_of(step + 1) - 1) == step


def test_a_step_is_never_wider_than_a_quarter() -> None:
    for step in range(4, 120):
        assert least_of(step + 1) - least_of(step) <= least_of(step) / 4 + 1


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_quantiles_are_off_by_an_eighth_at_most(share: float) -> None:
    random = Random(7)
    waits = [round(random.lognormvariate(8, 2)) for _ in range(2_000)]
    steps: dict[int, int] = {}
    for wait in waits:
        steps[step_of(wait)] = steps.get(step_of(wait), 0) + 1
    exact = quantiles(waits, n=100)[round(share * 100) - 1] / 1000
    assert quantile(steps, share) == pytest.approx(exact, rel=0.15)


def test_of_nothing_there_is_no_quantile() -> None:
    assert quantile({}, 0.5) is None
    assert step_of(-5) == 0
