"""How long something lasts, from how long others lasted: the Kaplan-Meier estimate, by steps, and how good it was.

Some have not ended yet: of those it is known that they lasted at least so long. In each step the hazard is the share of
those that ended in it, of all that were there at its beginning; what survives is the product of what the hazards leave
(E. L. Kaplan and P. Meier, "Nonparametric estimation from incomplete observations", JASA 53, 1958, 457-481; by whole
hours it is the discrete-time hazard of J. D. Singer and J. B. Willett, "It's about time", J. Educational Statistics 18,
1993, 155-195).
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How many lasted how long: whole steps, after which they ended, or were still there."""

    ended: Mapping[int, int]
    still: Mapping[int, int]

    @property
    def count(self) -> int:
        """All of them."""
        return sum(self.ended.values()) + sum(self.still.values())


@dataclass(frozen=True, slots=True)
class Survival:
    """Which share lasts longer than so many steps."""

    steps: tuple[int, ...]
    """Those in which any ended, in order."""
    left: tuple[float, ...]
    """The share that is left after each of them."""
    known: int
    """The longest time that is known of: there is nothing to say beyond it."""

    def after(self, step: int) -> float:
        """Return the share that lasts longer than `step`."""
        place = bisect_right(self.steps, step)
        return self.left[place - 1] if place else 1.0

    def ends_within(self, age: int, more: int) -> float | None:
        """Return the chance that what is there after `age` steps ends within `more`; None if nobody was that old."""
        there = self.after(age - 1)
        if age > self.known or not there:
            return None
        return 1 - self.after(age + more - 1) / there

    def median_left(self, age: int) -> int | None:
        """Return the steps within which half of those end that are there after `age`; None if less is known."""
        there = self.after(age - 1)
        if age > self.known or not there:
            return None
        place = next((at for at, left in enumerate(self.left) if self.steps[at] >= age and left <= there / 2), None)
        return None if place is None else self.steps[place] - age + 1


def kaplan_meier(lifetimes: Lifetimes) -> Survival:
    """Return the estimate. Those that ended in a step were there in it, and so were those last seen in it."""
    there = lifetimes.count
    left, steps, shares = 1.0, [], []
    times = sorted({*lifetimes.ended, *lifetimes.still})
    for time in times:
        ended = lifetimes.ended.get(time, 0)
        if ended:
            left *= 1 - ended / there
            steps.append(time)
            shares.append(left)
        there -= ended + lifetimes.still.get(time, 0)
    return Survival(tuple(steps), tuple(shares), times[-1] if times else 0)


def lifetimes_of(observed: Iterable[tuple[int, bool]]) -> Lifetimes:
    """Return lifetimes, each given as its steps and whether it ended."""
    ended, still = Counter[int](), Counter[int]()
    for steps, is_over in observed:
        (ended if is_over else still)[steps] += 1
    return Lifetimes(ended, still)


def memoryless(lifetimes: Lifetimes) -> Survival:
    """Return what would be if the hazard were the same in every step: the simplest thing to be better than."""
    times = {*lifetimes.ended, *lifetimes.still}
    exposed = sum((time + 1) * count for time, count in lifetimes.ended.items())
    exposed += sum(time * count for time, count in lifetimes.still.items())
    hazard = sum(lifetimes.ended.values()) / exposed if exposed else 0.0
    known = max(times, default=0)
    return Survival(tuple(range(known + 1)), tuple((1 - hazard) ** (step + 1) for step in range(known + 1)), known)


def brier(chances: Sequence[float], happened: Sequence[bool]) -> float | None:
    """Return the mean square of how far chances were off (G. W. Brier, Monthly Weather Review 78, 1950); 0 is best."""
    if not chances:
        return None
    return sum((chance - came) ** 2 for chance, came in zip(chances, happened, strict=True)) / len(chances)


def concordance(chances: Sequence[float], happened: Sequence[bool]) -> float | None:
    """Return how often the higher chance was that of the one that happened, of two of which one did; ties count half.

    For one horizon this is Harrell's c-index, and the area under the ROC curve. 0.5 is no better than a coin.
    """
    came = Counter(chance for chance, one in zip(chances, happened, strict=True) if one)
    stayed = Counter(chance for chance, one in zip(chances, happened, strict=True) if not one)
    pairs = sum(came.values()) * sum(stayed.values())
    if not pairs:
        return None
    below, right = 0, 0.0
    for chance in sorted({*came, *stayed}):
        right += came[chance] * (below + stayed[chance] / 2)
        below += stayed[chance]
    return right / pairs
