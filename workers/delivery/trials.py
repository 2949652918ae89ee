"""Finding the input that kills its worker.

A crash counts a delivery for everything that was in the worker's hands, and so does a hand-back; the broker's count
does not tell the culprit. So from the third delivery on a try is counted in the store before it is made, and the count
removed after it: first once for all that is tried together; what did not survive that is tried alone, each under a
count of its own. Whoever is tried alone and does not come back is the culprit. Reading an input is tried so, and after
it what it asks for.
"""

from collections.abc import Collection, Sequence
from typing import Final
from uuid import uuid4

from agentbus.contracts.errors import KilledWorker
from agentbus.contracts.parked import parked_id_for
from agentbus.storage.port import Store, attempt_at
from agentbus.workers.bus.port import Delivery
from agentbus.workers.concurrency import side_by_side

TRIED_FROM: Final = 3
"""The delivery from which on tries are counted."""

MOST_ALONE: Final = 2
"""Tries alone that an input may not survive before it is parked."""


class PoisonTrials:
    """The counted tries of what is tried together, each by its key; what has none is no suspect."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._attempt = uuid4().hex  # who gets no answer from the store asks again
        self._counts: dict[str, int] = {}

    async def begin(self, keys: Sequence[str]) -> None:
        """Count a try in company of each of `keys`. Raises StoreError."""
        self._counts = dict(zip(keys, await self._begin(keys), strict=True))

    def counts(self, key: str) -> bool:
        """Whether its tries are counted."""
        return key in self._counts

    def must_be_alone(self, key: str) -> bool:
        """Whether it did not survive a try in company."""
        return self._counts.get(key, 0) > 1

    async def begin_alone(self, key: str) -> None:
        """Count a try alone of a suspect. Raises KilledWorker if there were too many; StoreError."""
        if not self.counts(key):
            return
        (tried,) = await self._begin([_alone(key)])
        if tried > MOST_ALONE:
            raise KilledWorker(
                f"the worker's process ended, or stood still, during each of {tried - 1} tries of this input with "
                "nothing else in hand; find out why before replaying it"
            )

    async def end_alone(self, key: str) -> None:
        """Say that it was survived, or parked. Raises StoreError."""
        if self.counts(key):
            await self._end([_alone(key)])

    async def end(self) -> None:
        """Say that all was survived that was tried together. Raises StoreError."""
        await self._end(self._counts)

    async def _begin(self, keys: Collection[str]) -> list[int]:
        return await side_by_side(self._store.members.begin_trial(attempt_at(key, self._attempt)) for key in keys)

    async def _end(self, keys: Collection[str]) -> None:
        await side_by_side(self._store.members.end_trial(key) for key in keys)


def is_suspect(delivery: Delivery) -> bool:
    """Whether it was delivered so often that it may have killed a worker."""
    return delivery.attempts >= TRIED_FROM


def key_unread(delivery: Delivery) -> str:
    """Return the key of an input that nobody has looked into."""
    return f"read/{parked_id_for(delivery.message_id, delivery.body)}"


def _alone(key: str) -> str:
    return f"{key}/alone"
