"""Inputs on their way to their conversations' partitions, for all who send some: clients, routers, reactive workers."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import inf
from time import monotonic
from typing import Final, TypeVar

from pydantic import ValidationError

from agentbus.contracts.address import Scope
from agentbus.contracts.base import MAX_INPUT_BYTES
from agentbus.contracts.commands import AnyCommand, CommandReply
from agentbus.contracts.envelope import Input, InputEnvelope
from agentbus.contracts.errors import ReplyTimeout, TooLarge, Unroutable, refusal
from agentbus.contracts.ids import ConversationId, Partition
from agentbus.contracts.operators import Operator
from agentbus.contracts.telemetry import Action
from agentbus.storage.log_lines import Logger
from agentbus.workers.bus.port import UNCERTAIN, Bus, Message
from agentbus.workers.delivery.retry import keep_trying
from agentbus.workers.delivery.trace_contexts import traces
from agentbus.workers.patience import Patience

UNDECLARED: Final = Patience(transient=(Unroutable,), seconds=5.0, longest_wait=0.5)
"""For queues to be declared, by those who send: the first worker may just be starting."""
UNCONFIRMED: Final = Patience(transient=UNCERTAIN, longest_wait=2.0)
"""For what was published to be confirmed, by those who can't wait for as long as it takes."""

Result = TypeVar("Result")

_log = Logger(__name__)


@dataclass(frozen=True, slots=True)
class Routed:
    """An input with the way that it takes."""

    conversation: ConversationId
    partition: Partition
    key: str
    message: Message

    @property
    def outgoing(self) -> tuple[str, Message]:
        """The routing key and the message, as `Bus.publish_many` takes them."""
        return self.key, self.message


class Inputs:
    """Sends inputs to the partitions of their conversations, and awaits replies, on a bus that somebody else opened.

    `source` says in whose name, where an input comes without an envelope; `by` who has the commands given, which is
    said in each of them, whatever it said before.
    """

    def __init__(
        self, bus: Bus, *, scope: Scope = Scope.PER_CHAT_USER, source: str = "/worker", by: Operator | None = None
    ) -> None:
        self._bus = bus
        self._scope = scope
        self._source = source
        self._by = by

    async def give(self, inputs: Sequence[Input]) -> None:
        """Publish inputs in their order, confirmed, and wait out the broker; nobody waits for their replies."""
        if inputs:
            with self.on_their_way([self._envelope(given) for given in inputs]) as left:
                await keep_trying("give commands", self.publish, left)

    async def ask(self, given: Input, *, to: ConversationId | None = None, timeout: float = 10.0) -> CommandReply:
        """Send one command, to the conversation `to` or the one that it names, and return its owner's reply.

        Raises as `request` does.
        """
        return await self.request(self._envelope(given, to), timeout=timeout)

    @contextmanager
    def on_their_way(self, envelopes: Sequence[InputEnvelope]) -> Iterator[list[Routed]]:
        """Return where inputs go, each with a trace context, unless it has one: for who publishes them in the body.

        Raises as `routed` does.
        """
        with traces().publishing(self._bus.topology.inbound, len(envelopes)) as causes:
            yield [
                self.routed(one.model_copy(update={"traceparent": cause}) if cause and not one.traceparent else one)
                for one, cause in zip(envelopes, causes, strict=True)
            ]

    def routed(
        self, envelope: InputEnvelope, *, reply_to: str | None = None, correlation_id: str | None = None
    ) -> Routed:
        """Return where an input goes. Raises SchemaViolation if it names no conversation, TooLarge."""
        conversation = envelope.conversation(self._scope)
        said: dict[str, object] = {"partitionkey": conversation}
        if self._by and isinstance(envelope.data, AnyCommand):
            said["data"] = envelope.data.model_copy(update={"by": self._by})
        body = envelope.model_copy(update=said).to_bytes()
        if len(body) > MAX_INPUT_BYTES:
            raise TooLarge(f"{len(body)} bytes, the limit is {MAX_INPUT_BYTES}: put what is large into an attachment")
        message = Message(
            body=body,
            message_id=envelope.id,
            reply_to=reply_to,
            correlation_id=correlation_id,
        )
        partition = self._bus.topology.partition_of(conversation)
        return Routed(conversation, partition, self._bus.topology.routing_key(partition), message)

    async def publish(self, left: list[Routed], *, within: float = 0.0) -> None:
        """Publish inputs in their order, for `within` seconds again if unconfirmed; the confirmed ones leave the list.

        Waits a moment for a topology that is not there yet. Raises what the first one failed with while any is left,
        as `Bus.publish` does: call it again with the list.
        """
        await UNCONFIRMED.within(within).call(partial(_once_declared, partial(self._publish, left)))

    async def _publish(self, left: list[Routed]) -> None:
        outcomes = await self._bus.publish_many(self._bus.topology.inbound, [one.outgoing for one in left])
        left[:] = [one for one, error in zip(left, outcomes, strict=True) if error]
        for error in outcomes:
            if error:
                raise error

    async def request(self, envelope: InputEnvelope, *, timeout: float) -> CommandReply:
        """Send one command or query and return its owner's reply.

        Waits a moment for a topology that is not there yet. Raises the Refused that it answered with, ReplyTimeout
        after `timeout` seconds or if something else came in its place, and as `Bus.publish` does.
        """
        with self.on_their_way([envelope]) as (routed,):
            key, message = routed.outgoing
            asking = partial(self._bus.request, self._bus.topology.inbound, key, message, timeout=timeout)
            body = await _once_declared(asking, within=timeout)
        try:
            reply = CommandReply.model_validate_json(body)
        except ValidationError:
            raise ReplyTimeout("what came in the place of a reply can't be read: retry with the same id") from None
        if reply.error:
            raise refusal(reply.error.code, reply.error.message)
        return reply

    def _envelope(self, given: Input, to: ConversationId | None = None) -> InputEnvelope:
        return InputEnvelope(id=given.id, source=self._source, partitionkey=to, data=given.data)


async def _once_declared(call: Callable[[], Awaitable[Result]], *, within: float = inf) -> Result:
    """Make `call`, again for a moment, of `within` seconds at most, while no queue takes what it sends.

    Raises Unroutable in the end.
    """
    begun = monotonic()
    try:
        return await call()
    except Unroutable as error:
        _log.info(Action.TOPOLOGY_WAITING, reason=str(error))
        failed = error
    return await UNDECLARED.within(within).again(call, failed, begun=begun)
