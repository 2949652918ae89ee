"""Durations as counts by size, so that those of many sessions can be added up and still tell a median."""

from collections.abc import Mapping
from typing import Final

_PARTS: Final = 4
"""Steps between a duration and its double: a step is at most 25 % wide."""


def step_of(milliseconds: int) -> int:
    """Return the step that a duration is counted in; integers alone, so that it is the same everywhere.

    As HdrHistogram does: by the place of the highest bit, and the two bits behind it.
    """
    if milliseconds < _PARTS:
        return max(0, milliseconds)
    octave = milliseconds.bit_length() - 3
    return octave * _PARTS + (milliseconds >> octave)


def least_of(step: int) -> int:
    """Return the shortest duration that is counted in a step, in milliseconds."""
    if step < _PARTS:
        return step
    octave = step // _PARTS - 1
    return (step - octave * _PARTS) << octave


def quantile(steps: Mapping[int, int], share: float) -> float | None:
    """Return the duration, in seconds, that `share` of those counted are not longer than; None if there are none.

    It is the middle of its step, so off by 12.5 % at most.
    """
    total = sum(steps.values())
    if not total:
        return None
    seen, wanted = 0, share * total
    last = max(steps)
    for step in sorted(steps):
        seen += steps[step]
        if seen >= wanted:
            last = step
            break
    return (least_of(last) + least_of(last + 1) - 1) / 2000
