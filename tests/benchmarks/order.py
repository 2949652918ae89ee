"""Counting what came out of order."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

Histories = Mapping[str, Sequence[int]]
"""For each conversation the numbers of its messages in the order found; they were published as 1, 2, 3, ..."""


@dataclass(frozen=True, slots=True)
class Order:
    """What an order is worth."""

    messages: int
    """Different messages found."""
    repeats: int
    """Messages found more than once, counting each further time."""
    inversions: int
    """Messages that stand behind a later one of their conversation."""
    reordered: int
    """Conversations with at least one of these."""


def order_of(histories: Histories) -> Order:
    """Judge the order of all conversations."""
    firsts = [list(dict.fromkeys(numbers)) for numbers in histories.values()]
    behind = [_inversions(numbers) for numbers in firsts]
    messages = sum(map(len, firsts))
    return Order(
        messages=messages,
        repeats=sum(map(len, histories.values())) - messages,
        inversions=sum(behind),
        reordered=sum(count > 0 for count in behind),
    )


def _inversions(numbers: Iterable[int]) -> int:
    highest = count = 0
    for number in numbers:
        count += number < highest
        highest = max(highest, number)
    return count
