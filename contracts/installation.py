"""The installation: what all processes have to agree on, as it is kept in the store and declared on the broker."""

import re
from typing import Final, Self

from pydantic import Field

from agentbus.contracts.address import Scope
from agentbus.contracts.base import Announced
from agentbus.contracts.errors import InstallationMismatch
from agentbus.contracts.topology import MAX_PARTITIONS, Topology

_TO: Final = ".to."
_WORDS: Final = re.compile(
    rf"(?P<partitions>[0-9]{{1,4}})\.(?P<scope>[a-z_]+)(?:{re.escape(_TO)}(?P<moving_to>[0-9]{{1,4}}))?"
)


class Installation(Announced):
    """How many partitions there are, and what makes a conversation: the same for everyone who sends or handles inputs.

    While the number is being changed, `moving_to` is the one that there will be, and nobody may start.
    """

    partitions: int = Field(ge=1, le=MAX_PARTITIONS)
    scope: Scope
    moving_to: int | None = Field(default=None, ge=1, le=MAX_PARTITIONS)
    collected: bool = Field(default=False, description="The old partitions are empty; what was in them is kept aside.")

    @classmethod
    def of(cls, topology: Topology) -> Self:
        """Return the installation that a topology belongs to."""
        return cls(partitions=topology.partitions, scope=topology.scope)

    @classmethod
    def read(cls, words: str) -> Self | None:
        """Return the installation that `words` is of, or None if it is of none: it was declared by hand."""
        found = _WORDS.fullmatch(words)
        try:
            return cls.model_validate(found.groupdict()) if found else None
        except ValueError:
            return None

    @property
    def words(self) -> str:
        """It as part of a name: `64.per_chat_user`, or `64.per_chat_user.to.128` while that is being changed."""
        return f"{self.partitions}.{self.scope}{f'{_TO}{self.moving_to}' if self.moving_to else ''}"

    def check(self, topology: Topology) -> None:
        """Raise InstallationMismatch unless `topology` belongs to this installation, and nothing is being changed."""
        if refusal := self.refusal(topology):
            raise refusal

    def refusal(self, topology: Topology) -> InstallationMismatch | None:
        """Return what is wrong with `topology`: both, and what to do; None if it belongs to this installation."""
        here = Installation.of(topology)
        if (self.words, self.moving_to) == (here.words, None):
            return None
        moving = f", being changed to {self.moving_to}," if self.moving_to else ""
        found = (
            f"the installation has {self.partitions} partitions{moving} and scope {self.scope}; this process has "
            f"{here.partitions} and {here.scope}"
        )
        advice = self._advice(topology)
        return InstallationMismatch(f"{found}: {advice}", there=self.words, here=here.words, found=found, advice=advice)

    def _advice(self, topology: Topology) -> str:
        if self.moving_to:
            return (
                f"wait until `agentbus topology repartition {self.moving_to}` has ended (if it was interrupted, run "
                f"it again), then start with AGENTBUS_PARTITIONS={self.moving_to}"
            )
        advice = f"set AGENTBUS_PARTITIONS={self.partitions} and AGENTBUS_SCOPE={self.scope}"
        if self.partitions == topology.partitions:
            return advice
        return f"{advice}; to change the installation: agentbus topology repartition {topology.partitions}"
