"""Inputs on their way to their conversations' partitions, for all who send some: clients, routers, reactive workers."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from math import inf
from time import monotonic
from typing import Final, TypeVar

from pydantic import ValidationError

from agentbus.contracts.address import Scope
from agentbus.contracts.base import MAX_ID_LENGTH, MAX_INPUT_BYTES
from agentbus.contracts.commands import AnyCommand, AppendMessage, CommandReply
from agentbus.contracts.envelope import Input, InputEnvelope
from agentbus.contracts.errors import ReplyTimeout, TooLarge, Unroutable, refusal
from agentbus.contracts.ids import ConversationId, InputId, Partition, SessionId, conversation_of
from agentbus.contracts.messages import TextContent
from agentbus.contracts.operators import Operator
from agentbus.contracts.telemetry import Action
from agentbus.storage.log_lines import Logger
from agentbus.workers.bus.port import UNCERTAIN, Bus, HandedOver, Message
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
        if self._bus.hands_over and to is None and not self._by and not traces().on:
            session = _stays_as_it_is(given)
            if session is not None:
                with suppress(Unroutable):  # What is written waits for the topology.
                    return await self._hand_over(given, conversation_of(session), timeout)
        return await self.request(self._envelope(given, to), timeout=timeout)

    async def _hand_over(self, given: Input, conversation: ConversationId, timeout: float) -> CommandReply:
        topology = self._bus.topology
        key = topology.routing_key(topology.partition_of(conversation))
        handed = HandedOver(given, conversation, self._source)
        return _told(await self._bus.hand_over(topology.inbound, key, handed, timeout=timeout))

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
        return _told(reply)

    def _envelope(self, given: Input, to: ConversationId | None = None) -> InputEnvelope:
        return InputEnvelope(id=given.id, source=self._source, partitionkey=to, data=given.data)


def _stays_as_it_is(given: Input) -> SessionId | None:
    """Return the session of a command that can be handed over; None: it has to be written.

    Such a one holds nothing that its sender could still change, and little enough: it is a text for a session. The
    longest, with six bytes for each character, fills less than half of an input. Its id may be one that would be
    refused where it is written: then it is.
    """
    data = given.data
    if type(data) is not AppendMessage or data.by or not _is_plain(given.id):
        return None
    content = data.message.content
    return data.session_id if type(content) is TextContent and not content.attachments else None


def _is_plain(given: InputId) -> bool:
    return type(given) is str and 0 < len(given) <= MAX_ID_LENGTH and given.isascii() and given.isprintable()


def _told(reply: CommandReply) -> CommandReply:
    """Return a reply. Raises the Refused that it tells of."""
    if reply.error:
        raise refusal(reply.error.code, reply.error.message)
    return reply


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
