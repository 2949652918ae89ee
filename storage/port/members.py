"""The workers of the store port: who lives, which epoch a partition is in, and what may have killed one."""

from abc import ABC, abstractmethod
from typing import Final, NamedTuple
from uuid import uuid4

from agentbus.contracts.ids import Partition
from agentbus.contracts.members import Member, WorkerId

_SEPARATOR: Final = "\x1f"
"""No id holds a control character."""


class Epoch(NamedTuple):
    """The last epoch of a partition that was given out."""

    group: str
    partition: Partition
    epoch: int


class Members(ABC):
    """What workers keep about themselves: their groups' members, the epochs they work in, the trials they survive."""

    @abstractmethod
    async def heartbeat(self, group: str, member: Member, *, ttl: float) -> list[Member]:
        """Record that `member` lives, by the store's clock, and return the group's live members, itself among them.

        Live are those whose last heartbeat is at most `ttl` seconds old by the store's clock; sorted by worker id.
        Members much older than that (100 times) may be forgotten.
        """

    @abstractmethod
    async def live(self, group: str, *, ttl: float) -> list[Member]:
        """Return the group's live members, as `heartbeat` does."""

    @abstractmethod
    async def everyone(self, *, ttl: float) -> list[Member]:
        """Return the live members of all groups, by worker id; who is in several comes as often."""

    @abstractmethod
    async def leave(self, group: str, worker: WorkerId) -> None:
        """Forget a member at once. Idempotent."""

    @abstractmethod
    async def take_epoch(self, group: str, partition: Partition, *, above: int = 0) -> int:
        """Return the partition's next epoch: the lowest above `above`, 0, and all given out before."""

    @abstractmethod
    async def epochs(self) -> list[Epoch]:
        """Return the last epoch that was given out of each partition of each group, by group and partition."""

    @abstractmethod
    async def begin_trial(self, key: str) -> int:
        """Note that an input is tried which may have killed its worker before; return how many attempts by now.

        A key made by `attempt_at` counts once: who gets no answer asks again. Any other is an attempt
        each time.
        """

    @abstractmethod
    async def end_trial(self, key: str) -> None:
        """Say that the input did not kill its worker: its count is forgotten. Idempotent."""


def attempt_at(key: str, attempt: str) -> str:
    """Return a key of one attempt: `begin_trial` counts it once, however often it is called."""
    return f"{key}{_SEPARATOR}{attempt}"


def attempt_of(key: str) -> tuple[str, str]:
    """Return the input and the attempt that a key names; a new attempt if it names none."""
    tried, _, attempt = key.partition(_SEPARATOR)
    return tried, attempt or uuid4().hex


def attempts_between(key: str) -> tuple[str, str]:
    """Return the bounds, themselves left out, of the keys of all attempts at `key`, for stores that keep one a row."""
    return f"{key}{_SEPARATOR}", f"{key}{chr(ord(_SEPARATOR) + 1)}"
