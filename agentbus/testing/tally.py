"""What became of the inputs of one conversation: published attempts against the committed order."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from agentbus.contracts.ids import InputId


@dataclass(frozen=True, slots=True)
class Tally:
    """Inputs by what became of them."""

    committed: tuple[InputId, ...]
    parked: tuple[InputId, ...]
    """Parked, and not committed."""
    lost: tuple[InputId, ...]
    """Confirmed, and neither committed nor parked."""
    duplicated: tuple[InputId, ...]
    """Once for each commit beyond the first."""
    reordered: tuple[InputId, ...]
    """Committed after an input that was published later."""
    unknown: tuple[InputId, ...]
    """Committed, and never published."""


def tally(
    attempts: Iterable[tuple[InputId, bool]],
    committed: Sequence[InputId],
    *,
    parked: Collection[str] = frozenset(),
    replayed: Collection[str] = frozenset(),
) -> Tally:
    """Compare what was published (input and whether it was confirmed, in order) with what was committed, in order.

    An input that was published more than once arrived with its first confirmed attempt at the latest; it may have
    arrived with any before it. Those in `replayed` were published again by an operator, so that their place is open.
    """
    places, confirmed = _places(attempts)
    times = Counter(input_id for input_id in committed if input_id in places)
    missing = [input_id for input_id in places if input_id not in times]
    return Tally(
        committed=tuple(times),
        parked=tuple(input_id for input_id in missing if input_id in parked),
        lost=tuple(input_id for input_id in missing if input_id in confirmed and input_id not in parked),
        duplicated=tuple(input_id for input_id, count in times.items() for _ in range(count - 1)),
        reordered=tuple(_overtaken(places, (input_id for input_id in times if input_id not in replayed))),
        unknown=tuple(dict.fromkeys(input_id for input_id in committed if input_id not in places)),
    )


def _places(attempts: Iterable[tuple[InputId, bool]]) -> tuple[dict[InputId, list[int]], set[InputId]]:
    """Return, for each input, the attempts with which it may have arrived; and the inputs that were confirmed."""
    places: dict[InputId, list[int]] = {}
    confirmed: set[InputId] = set()
    for place, (input_id, is_confirmed) in enumerate(attempts):
        if input_id not in confirmed:
            places.setdefault(input_id, []).append(place)
        if is_confirmed:
            confirmed.add(input_id)
    return places, confirmed


def _overtaken(places: Mapping[InputId, Sequence[int]], committed: Iterable[InputId]) -> Iterable[InputId]:
    """Yield the inputs for which no attempt comes after those of all that were committed before."""
    latest = -1
    for input_id in committed:
        place = next((place for place in places[input_id] if place > latest), None)
        if place is None:
            yield input_id
        else:
            latest = place
