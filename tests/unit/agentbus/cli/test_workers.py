"""Partitions as people write them."""

import pytest

from agentbus.cli.workers import _ranges
from agentbus.contracts.ids import Partition


@pytest.mark.parametrize(
    ("partitions", "written"),
    [
        ((), ""),
        ((0,), "1: 0"),
        ((3, 4), "2: 3-4"),
        ((0, 2, 4), "3: 0, 2, 4"),
        ((0, 1, 2, 3, 7), "5: 0-3, 7"),
        ((7, 2, 0, 1, 8), "5: 0-2, 7-8"),
        (tuple(range(64)), "64: 0-63"),
    ],
)
def test_partitions_next_to_each_other_are_a_range(partitions: tuple[int, ...], written: str) -> None:
    assert _ranges([Partition(number) for number in partitions]) == written
