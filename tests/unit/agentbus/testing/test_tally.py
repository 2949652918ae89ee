"""What became of the inputs of one conversation."""

import pytest

from agentbus.contracts.ids import InputId
from agentbus.testing import Tally, tally


def tallied(attempts: str, committed: str, **others: set[str]) -> Tally:
    """Tally inputs of one letter each; a `?` after an attempt says that it was not confirmed."""
    tried: list[tuple[InputId, bool]] = []
    for letter in attempts:
        if letter == "?":
            tried[-1] = (tried[-1][0], False)
        else:
            tried.append((InputId(letter), True))
    return tally(tried, [InputId(letter) for letter in committed], **others)


def test_all_is_well() -> None:
    assert tallied("abc", "abc") == Tally(("a", "b", "c"), (), (), (), (), ())  # type: ignore[arg-type]  # plain strings


def test_an_input_that_was_confirmed_and_is_nowhere_is_lost() -> None:
    assert tallied("abc", "ac").lost == ("b",)


def test_an_unconfirmed_input_may_be_missing_or_committed_but_not_twice() -> None:
    assert tallied("ab?", "a").lost == ()
    assert tallied("ab?", "ab").committed == ("a", "b")
    assert tallied("ab?", "abb").duplicated == ("b",)


def test_a_parked_input_is_not_lost() -> None:
    found = tallied("abc", "ac", parked={"b"})
    assert (found.lost, found.parked) == ((), ("b",))


def test_each_commit_beyond_the_first_is_a_duplicate_and_not_out_of_order() -> None:
    found = tallied("abc", "abacaa")
    assert found.duplicated == ("a", "a", "a")
    assert found.reordered == ()


def test_an_input_that_nobody_published() -> None:
    assert tallied("ab", "axb").unknown == ("x",)


@pytest.mark.parametrize(
    ("attempts", "committed", "late"),
    [
        ("abc", "acb", "b"),
        ("abc", "bca", "a"),
        ("abc", "cba", "ba"),
        ("abab", "ab", ""),
        ("abab", "ba", "a"),  # the first attempt of `a` was confirmed: its repeat changes nothing
        ("a?ba", "ba", ""),  # the first attempt of `a` got lost on the way
        ("a?ba", "ab", ""),  # ... or did not
        ("a?ba", "abb", ""),
        ("a?bac", "bca", "a"),
        ("a?b?ab", "ba", ""),
    ],
)
def test_order(attempts: str, committed: str, late: str) -> None:
    assert tallied(attempts, committed).reordered == tuple(late)


def test_an_input_that_an_operator_replayed_may_come_late() -> None:
    assert tallied("abc", "bca", replayed={"a"}).reordered == ()
    assert tallied("abc", "bc", replayed={"a"}).lost == ("a",)
