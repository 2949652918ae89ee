"""What every worker is: it joins others of its kind, works, finishes what it has begun, and ends."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final

from agentbus.contracts.members import Member

HAND_BACK_SECONDS: Final = 20.0
"""Seconds that a worker which ends may take for what is in hand; the rest is given up, and comes again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How a worker is."""

    live: bool
    """It works; if not, restarting its process is all that helps."""
    ready: bool
    """It does its share: it has joined the others, is not draining, and nothing of its share has stopped."""
    lag: float
    """Seconds by which its event loop is late."""
    member: Member | None
    """What it tells the others about itself; None if it tells nobody, as there are no others."""


class Worker(ABC):
    """Runs from `start` to `close`. Any number of a kind run side by side, in one process or in many."""

    @abstractmethod
    async def start(self) -> None:
        """Join the others and begin. The topology must have been declared.

        If it fails or is cancelled, nothing is left of it.
        """

    @abstractmethod
    async def wait(self) -> None:
        """Return when it was closed; raise what made it fail."""

    @abstractmethod
    async def drain(self, *, within: float = HAND_BACK_SECONDS) -> None:
        """Take no more, and finish what is being worked on; what is not finished `within` seconds comes again."""

    @abstractmethod
    async def close(self, *, within: float = HAND_BACK_SECONDS) -> None:
        """Drain, leave the others, and let go of everything, some seconds after `within` at the latest. Idempotent."""

    @abstractmethod
    def health(self) -> Health:
        """Return how it is, for probes."""
