"""How reactive workers act: they never write a session, they send commands to its owner."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from contracts.address import Scope
from contracts.commands import AnyCommand, CommandReply
from contracts.envelope import InputEnvelope
from contracts.errors import BusError, refusal
from workers.bus.port import Bus, Message
from workers.retry import keep_trying

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
        self._bus = bus
        self._scope = scope

    async def give(self, commands: Sequence[Given]) -> None:
        """Publish commands in their order, confirmed, and wait out the broker; nobody waits for their replies."""
        left = [self._routed(given) for given in commands]

        async def publish_left() -> None:
            nonlocal left
            outcomes = await self._bus.publish_many(self._bus.topology.inbound, left)
            failed: list[BusError] = [error for error in outcomes if error]
            left = [message for message, error in zip(left, outcomes, strict=True) if error]
            if failed:
                raise failed[0]

        if left:
            await keep_trying("give commands", publish_left)

    async def ask(self, given: Given, *, timeout: float = 10.0) -> CommandReply:
        """Send one command and return its reply. Raises Refused, ReplyTimeout, BusError."""
        partition, message = self._routed(given)
        request = partial(self._bus.request, self._bus.topology.inbound, partition, message, timeout=timeout)
        reply = CommandReply.model_validate_json(await request())
        if reply.error:
            raise refusal(reply.error.code, reply.error.message)
        return reply

    def _routed(self, given: Given) -> tuple[str, Message]:
        envelope = InputEnvelope(id=given.id, source=_SOURCE, data=given.command)
        conversation = envelope.conversation(self._scope)
        body = envelope.model_copy(update={"partitionkey": conversation}).to_bytes()
        return str(self._bus.topology.partition_of(conversation)), Message(body=body, message_id=given.id)
