"""Chances by what others did, and how good they were: better than the same for all where age tells something."""

from random import Random

import pytest

from agentbus.workers.domain.tracking.chances import LEAST, assess, chances_of
from agentbus.workers.domain.tracking.survival import Lifetimes, lifetimes_of

AGES = (0, 1, 3, 12)


def silences(random: Random, count: int) -> Lifetimes:
    """Return silences of which most are over in an hour or two, and the others last long: the longer, the longer."""
    return lifetimes_of((int(random.paretovariate(0.7)) - 1, True) for _ in range(count))


def test_the_longer_the_silence_the_less_likely_is_a_return() -> None:
    known = silences(Random(1), 2_000)
    chances = [chances_of(known, age) for age in AGES]
    days = [one.within["day"] for one in chances if one]
    assert days == sorted(days, reverse=True)  # type: ignore[type-var]  # none is None
    assert chances[0] is not None
    assert chances[0].within["hour"] == pytest.approx(known.ended[0] / 2_000)
    assert chances[0].based_on == 2_000


def test_of_few_nothing_is_said() -> None:
    assert chances_of(lifetimes_of([(1, True)] * (LEAST - 1) + [(5, False)] * 99), 0) is None


def test_where_age_tells_something_the_estimate_is_better_than_what_ignores_it() -> None:
    random = Random(2)
    found = assess(silences(random, 3_000), silences(random, 3_000), 6, AGES)
    assert found.brier is not None
    assert found.same_for_all is not None
    assert found.memoryless is not None
    assert found.concordance is not None
    assert found.brier < found.same_for_all
    assert found.brier < found.memoryless
    assert found.concordance > 0.6


def test_where_age_tells_nothing_it_is_no_better_and_says_so() -> None:
    random = Random(3)

    def flat(count: int) -> Lifetimes:
        return lifetimes_of((int(random.expovariate(0.2)), True) for _ in range(count))

    found = assess(flat(3_000), flat(3_000), 6, AGES)
    assert found.brier == pytest.approx(found.memoryless, abs=0.005)
    assert found.concordance == pytest.approx(0.5, abs=0.05)


def test_chances_come_true_as_often_as_they_say() -> None:
    random = Random(4)
    known, later = silences(random, 5_000), silences(random, 5_000)
    for age in AGES:
        said = chances_of(known, age)
        assert said is not None
        old = {steps: count for steps, count in later.ended.items() if steps >= age}
        came = sum(count for steps, count in old.items() if steps < age + 24) / sum(old.values())
        assert said.within["day"] == pytest.approx(came, abs=0.05)


def test_what_is_not_known_yet_is_left_out() -> None:
    known = lifetimes_of([(0, True)] * 30)
    found = assess(known, lifetimes_of([(2, False), (9, False)]), 6, (0, 3, 12))
    assert found.cases == 2, "of the second, at 0 and at 3; the first was last seen before it could be said"
