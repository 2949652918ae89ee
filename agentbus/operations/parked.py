"""What operators do with parked inputs."""

from dataclasses import dataclass
from typing import Final

from agentbus.contracts.address import Scope
from agentbus.contracts.envelope import InputEnvelope
from agentbus.contracts.errors import AgentBusError, InvalidInput
from agentbus.contracts.history import Page
from agentbus.contracts.messages import InboundMessage
from agentbus.contracts.operators import Operator
from agentbus.contracts.parked import ParkedId, ParkedInput, ParkedStatus
from agentbus.operations.paging import page_after
from agentbus.storage.port import Store
from agentbus.workers.bus.port import Bus, Message
from agentbus.workers.delivery.inputs import Inputs, Routed

_BY_BODY: Final = "publish its bytes from a file with --body"


class ParkedNotFound(AgentBusError):
    """There is no such parked input."""

    def __init__(self, parked_id: ParkedId) -> None:
        super().__init__(f"no parked input {parked_id} in this store; see: agentbus parked list --all")


class ReplayRefused(AgentBusError):
    """What was parked is not to be published again as it is."""


@dataclass(frozen=True, slots=True)
class _Way:
    """Where a message is published, and the queue that it gets to."""

    exchange: str
    routing_key: str
    queue: str
    message: Message


async def list_parked(
    store: Store, status: ParkedStatus | None = ParkedStatus.PARKED, *, limit: int = 50, cursor: str | None = None
) -> Page[ParkedInput]:
    """Return a page of parked inputs, the latest first: in one status, or for None in any; long bodies are cut.

    Raises InvalidCursor, StoreError.
    """
    with page_after(cursor):
        return await store.parked.page(status, limit=limit, cursor=cursor)


async def get_parked(store: Store, parked_id: ParkedId) -> ParkedInput:
    """Return a parked input with its whole body. Raises ParkedNotFound, StoreError."""
    parked = await store.parked.get(parked_id)
    if parked is None:
        raise ParkedNotFound(parked_id)
    return parked


async def replay_parked(
    bus: Bus,
    store: Store,
    parked_id: ParkedId,
    *,
    scope: Scope,
    corrected: bytes | None = None,
    by: Operator | None = None,
) -> str:
    """Publish a parked input again and return the queue it went to.

    Its own bytes go to the partition of the conversation that they name, by today's rules, under the same message id,
    so that an input that was applied after all changes nothing; what names none goes back to the queue that it came
    from. `corrected` bytes take the original's place; a command in them is given `by` whoever replays it.

    Raises ReplayRefused for a command of somebody who may give none, as it would be given by whoever replays it, and
    for what came from a queue that is none of ours; ParkedNotFound, Unroutable, PublishUnconfirmed; InvalidInput if the
    corrected bytes can't be read either.
    """
    parked = await get_parked(store, parked_id)
    way = _way_back(bus, parked, scope) if corrected is None else _corrected(bus, corrected, scope, by)
    await _publish_again(bus, store, parked_id, way)
    return way.queue


async def publish_again(bus: Bus, store: Store, listed: ParkedInput, *, scope: Scope) -> None:
    """Publish a parked input again that a list has given, its body perhaps cut. Raises as `replay_parked` does."""
    parked = await get_parked(store, listed.parked_id) if listed.size > len(listed.body) else listed
    await _publish_again(bus, store, parked.parked_id, _way_back(bus, parked, scope))


async def discard_parked(store: Store, parked_id: ParkedId) -> None:
    """Mark a parked input as not needed. Raises ParkedNotFound."""
    if not await store.parked.set_status(parked_id, ParkedStatus.DISCARDED):
        raise ParkedNotFound(parked_id)


async def _publish_again(bus: Bus, store: Store, parked_id: ParkedId, way: _Way) -> None:
    # The status first: should the input fail once more, its parking sets it back to `parked` after this.
    await store.parked.set_status(parked_id, ParkedStatus.REPLAYED)
    try:
        await bus.publish(way.exchange, way.routing_key, way.message)
    except AgentBusError:
        await store.parked.set_status(parked_id, ParkedStatus.PARKED)
        raise


def _way_back(bus: Bus, parked: ParkedInput, scope: Scope) -> _Way:
    """Return the way of a parked input's own bytes: home if they can be read, otherwise where they came from."""
    message = Message(body=parked.body, message_id=parked.message_id)
    try:
        envelope = InputEnvelope.from_bytes(parked.body)
        routed = Inputs(bus, scope=scope).routed(envelope)
    except InvalidInput:
        back = bus.topology.way_back(parked.queue)
        if back is None:
            raise ReplayRefused(f"it came from {parked.queue!r}, which is no queue of AgentBus's: {_BY_BODY}") from None
        return _Way(*back, parked.queue, message)
    if not isinstance(envelope.data, InboundMessage) and not bus.topology.is_partition(parked.queue):
        raise ReplayRefused(
            f"it is the command {envelope.data.kind} of somebody who may send chat messages alone: if you mean to give "
            f"it yourself, {_BY_BODY}"
        )
    return _home(bus, routed, message)


def _corrected(bus: Bus, body: bytes, scope: Scope, by: Operator | None) -> _Way:
    routed = Inputs(bus, scope=scope, by=by).routed(InputEnvelope.from_bytes(body))
    return _home(bus, routed, routed.message)


def _home(bus: Bus, routed: Routed, message: Message) -> _Way:
    return _Way(bus.topology.inbound, routed.key, bus.topology.partition_queue(routed.partition), message)
