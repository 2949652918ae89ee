"""Looking inside stores: what their public calls can't do, done by each store's own means.

Without them the tests that need them are skipped, and say so.
"""

from typing import Final, Protocol

import pytest

from agentbus.contracts.events import Commit
from agentbus.contracts.parked import ParkedId, ParkedInput
from agentbus.contracts.records import Record
from agentbus.contracts.session import SessionState
from agentbus.storage.port import Store

Spoiled = SessionState | Commit | ParkedInput | Record


class Inside(Protocol):
    """What the tests of a store can do to it."""

    async def age_heartbeat(self, store: Store, group: str, name: str, seconds: float) -> None:
        """Make a member's last heartbeat older, as if the time had passed."""

    async def kept_of(self, store: Store, parked_id: ParkedId) -> list[str]:
        """Return the names of all that a store keeps of a parked input, pieces of its body too."""
        ...

    async def spoil(self, store: Store, kept: Spoiled) -> None:
        """Damage what a store keeps of something, in a way that leaves it where it is."""

    def held_by(self, store: Store) -> list[str]:
        """Return what an idle store holds on to: transactions, snapshots, connections, locks, files half written."""
        ...


_given: Final[dict[type[Store], Inside]] = {}


def look_inside(kind: type[Store], means: Inside) -> None:
    """Let the suite look inside stores of a kind by these means."""
    _given[kind] = means


async def age_heartbeat(store: Store, group: str, name: str, seconds: float) -> None:
    """Make a member's last heartbeat older, as if the time had passed."""
    await _means(store).age_heartbeat(store, group, name, seconds)


async def kept_of(store: Store, parked_id: ParkedId) -> list[str]:
    """Return the names of all that a store keeps of a parked input, pieces of its body too."""
    return await _means(store).kept_of(store, parked_id)


async def spoil(store: Store, kept: Spoiled) -> None:
    """Damage what a store keeps of something, in a way that leaves it where it is."""
    await _means(store).spoil(store, kept)


def held_by(store: Store) -> list[str]:
    """Return what an idle store holds on to; of one that nobody can look into, nothing."""
    means = _given.get(type(store))
    return means.held_by(store) if means else []


def _means(store: Store) -> Inside:
    if means := _given.get(type(store)):
        return means
    kind = type(store).__name__
    pytest.skip(f"nobody can look inside a {kind}: agentbus.testing.conformance.look_inside({kind}, ...)")
