"""Finding the input that kills its worker.

A crash counts a delivery for everything that was in the worker's hands, and so does a hand-back; the broker's count
does not tell the culprit. So from the third delivery on a try is counted in the store before it is made, and the count
removed after it: first once for all that is tried together; what did not survive that is tried alone, each under a
count of its own. Whoever is tried alone and does not come back is the culprit.
"""

from collections.abc import Collection, Sequence
from typing import Final
from uuid import uuid4

from contracts.errors import KilledWorker
from storage.port import Store
from storage.trials import attempt_at
from workers.endings import side_by_side
from workers.session.lanes import Turn, Waiting

TRIED_FROM: Final = 3
"""The delivery from which on tries are counted."""

MOST_ALONE: Final = 2
"""Tries alone that an input may not survive before it is parked."""


class Trials:
    """The counted tries of one round."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._attempt = uuid4().hex  # of this round: who gets no answer from the store asks again
        self._counts: dict[str, int] = {}

    async def begin(self, turns: Sequence[Turn]) -> None:
        """Count a try in company of each suspicious input in `turns`. Raises StoreError."""
        keys = [
            _key(turn, waiting) for turn in turns for waiting in turn.inputs if waiting.delivery.attempts >= TRIED_FROM
        ]
        self._counts = dict(zip(keys, await self._begin(keys), strict=True))

    def must_be_alone(self, turn: Turn) -> bool:
        """Whether one of the turn's inputs did not survive a try in company."""
        return any(self._counts.get(_key(turn, waiting), 0) > 1 for waiting in turn.inputs)

    async def begin_alone(self, turn: Turn, waiting: Waiting) -> None:
        """Count a try alone of a suspicious input. Raises KilledWorker if there were too many; StoreError."""
        key = _key(turn, waiting)
        if key not in self._counts:
            return
        (tried,) = await self._begin([_alone(key)])
        if tried > MOST_ALONE:
            raise KilledWorker(
                f"the worker's process ended during each of {tried - 1} tries of this input with nothing else in hand; "
                "find out why before replaying it"
            )

    async def end_alone(self, turn: Turn, waiting: Waiting) -> None:
        """Say that the input was survived, or parked. Raises StoreError."""
        key = _key(turn, waiting)
        if key in self._counts:
            await self._end([_alone(key)])

    async def end(self) -> None:
        """Say that the round was survived. Raises StoreError."""
        await self._end(self._counts)

    async def _begin(self, keys: Collection[str]) -> list[int]:
        return await side_by_side(self._store.begin_trial(attempt_at(key, self._attempt)) for key in keys)

    async def _end(self, keys: Collection[str]) -> None:
        await side_by_side(self._store.end_trial(key) for key in keys)


def _key(turn: Turn, waiting: Waiting) -> str:
    return f"{turn.lane.conversation}/{waiting.given.id}"


def _alone(key: str) -> str:
    return f"{key}/alone"
