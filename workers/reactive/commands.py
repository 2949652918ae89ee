"""How reactive workers act: they never write a session, they send commands to its owner."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from contracts.address import Scope
from contracts.commands import AnyCommand, CommandReply
from contracts.envelope import InputEnvelope
from workers.bus.port import Bus
from workers.delivery.inputs import Inputs
from workers.delivery.retry import keep_trying

_SOURCE: Final = "/worker"


@dataclass(frozen=True, slots=True)
class Given:
    """A command with its id: sent again with the same id it is carried out once."""

    command: AnyCommand
    """Names its session; without one, its address."""
    id: str


class Commands:
    """Sends commands to the partitions of their conversations."""

    def __init__(self, bus: Bus, *, scope: Scope = Scope.PER_CHAT_USER) -> None:
        self._inputs = Inputs(bus, scope=scope)

    async def give(self, commands: Sequence[Given]) -> None:
        """Publish commands in their order, confirmed, and wait out the broker; nobody waits for their replies."""
        if commands:
            left = [self._inputs.routed(_envelope(given)) for given in commands]
            await keep_trying("give commands", partial(self._inputs.publish, left))

    async def ask(self, given: Given, *, timeout: float = 10.0) -> CommandReply:
        """Send one command and return its reply. Raises Refused, ReplyTimeout, BusError."""
        return await self._inputs.ask(_envelope(given), timeout=timeout)


def _envelope(given: Given) -> InputEnvelope:
    return InputEnvelope(id=given.id, source=_SOURCE, data=given.command)
