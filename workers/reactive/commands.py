"""How reactive workers act: they never write a session, they send commands to its owner."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from contracts.address import Scope
from contracts.commands import CommandReply
from contracts.envelope import Input, InputEnvelope
from workers.bus.port import Bus
from workers.delivery.inputs import Inputs
from workers.delivery.retry import keep_trying

_SOURCE: Final = "/worker"


class Commands:
    """Sends commands to the partitions of their conversations."""

    def __init__(self, bus: Bus, *, scope: Scope = Scope.PER_CHAT_USER) -> None:
        self._inputs = Inputs(bus, scope=scope)

    async def give(self, commands: Sequence[Input]) -> None:
        """Publish commands in their order, confirmed, and wait out the broker; nobody waits for their replies."""
        if commands:
            left = [self._inputs.routed(InputEnvelope.of(given, source=_SOURCE)) for given in commands]
            await keep_trying("give commands", partial(self._inputs.publish, left))

    async def ask(self, given: Input, *, timeout: float = 10.0) -> CommandReply:
        """Send one command and return its reply. Raises Refused, ReplyTimeout, BusError."""
        return await self._inputs.ask(InputEnvelope.of(given, source=_SOURCE), timeout=timeout)
