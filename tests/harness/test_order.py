"""A run of several processes begins with the longest tests, in two of them."""

from tests.harness.order import in_order


def test_each_of_two_processes_begins_with_its_share_of_the_heavy_ones() -> None:
    items = [f"light{number}" for number in range(33)] + ["a1", "a2", "b1", "b2", "c1"]
    groups = [None] * 33 + ["a", "a", "b", "b", "c"]
    ordered = in_order(items, groups, processes=4)
    assert sorted(ordered) == sorted(items)
    share = len(items) // 4
    assert ordered[4:7] == ["a1", "a2", "c1"]
    assert ordered[share + 4 : share + 6] == ["b1", "b2"]


def test_more_heavy_ones_than_a_share_holds_are_all_taken() -> None:
    assert sorted(in_order(range(8), [0, 1, 2, 3, 4, 5, 6, None], processes=4)) == list(range(8))


def test_without_heavy_ones_nothing_changes() -> None:
    assert in_order(range(9), [None] * 9, processes=3) == list(range(9))
