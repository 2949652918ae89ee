"""In which order a run of several processes takes the tests.

Left where the alphabet puts them, the longest ones begin last, and the other processes wait for the one that has them.
So they begin first; but only in some of the processes, since each of them starts more processes than there are cores.
"""

import os
from collections.abc import Hashable, Sequence
from typing import Final, TypeVar

import pytest

HEAVY: Final = frozenset({"benchmarks", "chaos", "e2e", "reactive", "soak", "stress", "tour"})
"""The folders whose tests start whole systems."""

HANDS: Final = 2
"""How many processes begin with them."""

T = TypeVar("T")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests in order; xdist gives each process as many of them, from the first to the last."""
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if processes > 1:
        items[:] = in_order(items, [_heavy(item) for item in items], processes)


def _heavy(item: pytest.Item) -> Hashable | None:
    """Return what a heavy test is to be kept together with, such as its file for the services that it starts."""
    folders = item.path.relative_to(item.config.rootpath).parts
    if len(folders) < 2 or folders[1] not in HEAVY:
        return None
    return item.nodeid if folders[1] == "tour" else item.path


def in_order(items: Sequence[T], groups: Sequence[Hashable | None], processes: int) -> list[T]:
    """Deal the groups to the first processes, each to begin with; items of the group None fill up all of them."""
    together: dict[Hashable, list[T]] = {}
    light: list[T] = []
    for item, group in zip(items, groups, strict=True):
        (light if group is None else together.setdefault(group, [])).append(item)
    hands: list[list[T]] = [[] for _ in range(min(HANDS, processes))]
    for number, members in enumerate(together.values()):
        hands[number % len(hands)] += members
    ordered: list[T] = []
    for hand in hands:
        # The shares differ by one test at most: a few light ones first, and no share ends with what should begin.
        room = max(0, len(items) // processes - len(hand))
        ahead = min(room, processes)
        ordered += [*light[:ahead], *hand, *light[ahead:room]]
        light = light[room:]
    return ordered + light
