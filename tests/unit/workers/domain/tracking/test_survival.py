"""Kaplan-Meier against figures that are published, and against counting where nothing is censored."""

from random import Random

import pytest

from agentbus.workers.domain.tracking.survival import (
    Survival,
    brier,
    concordance,
    kaplan_meier,
    lifetimes_of,
    memoryless,
)

REMISSIONS = [
    (6, True), (6, True), (6, True), (6, False), (7, True), (9, False), (10, True), (10, False), (11, False),
    (13, True), (16, True), (17, False), (19, False), (20, False), (22, True), (23, True), (25, False), (32, False),
    (32, False), (34, False), (35, False),
]  # fmt: skip
"""Weeks of remission under 6-mercaptopurine: E. J. Freireich et al., Blood 21, 1963; the textbook's example."""
PUBLISHED = {6: 0.857, 7: 0.807, 10: 0.753, 13: 0.690, 16: 0.627, 22: 0.538, 23: 0.448}
"""D. G. Kleinbaum and M. Klein, Survival Analysis, table of the treatment group."""


def test_the_textbooks_example_comes_out() -> None:
    found = kaplan_meier(lifetimes_of(REMISSIONS))
    assert found.steps == tuple(PUBLISHED)
    assert found.left == pytest.approx(tuple(PUBLISHED.values()), abs=0.0005)
    assert found.median_left(0) == 24, "the published median is week 23"
    assert found.after(5) == 1.0
    assert found.known == 35


def test_where_all_have_ended_it_is_counting() -> None:
    random = Random(1)
    lives = [random.randint(0, 40) for _ in range(500)]
    found = kaplan_meier(lifetimes_of((life, True) for life in lives))
    for age, more in ((0, 1), (5, 10), (20, 3)):
        old = [life for life in lives if life >= age]
        expected = sum(life < age + more for life in old) / len(old)
        assert found.ends_within(age, more) == pytest.approx(expected)


def test_of_what_nobody_reached_nothing_is_said() -> None:
    found = kaplan_meier(lifetimes_of([(3, True), (5, False)]))
    assert found.ends_within(6, 1) is None
    assert found.median_left(6) is None
    assert found.median_left(4) is None, "of those that old it is not known when half are gone"
    assert kaplan_meier(lifetimes_of([])) == Survival((), (), 0)


def test_without_memory_every_step_has_the_same_hazard() -> None:
    found = memoryless(lifetimes_of([(0, True), (1, True), (2, False)]))
    assert [found.ends_within(age, 1) for age in (0, 1, 2)] == pytest.approx([0.4, 0.4, 0.4])


def test_brier_and_concordance_are_those_of_the_books() -> None:
    assert brier([0.9, 0.1, 0.5], [True, False, True]) == pytest.approx((0.01 + 0.01 + 0.25) / 3)
    assert concordance([0.9, 0.1, 0.5, 0.5], [True, False, True, False]) == pytest.approx(3.5 / 4)
    assert concordance([0.5, 0.5], [True, True]) is None
    assert brier([], []) is None
