"""What operators do with parked inputs."""

from contracts.address import Scope
from contracts.envelope import InputEnvelope
from contracts.errors import AgentBusError
from contracts.ids import ConversationId
from contracts.parked import ParkedId, ParkedInput, ParkedStatus
from storage.port import Store
from storage.reading import iter_parked
from workers.bus.port import Bus, Message
from workers.inputs import Inputs


class ParkedNotFound(AgentBusError):
    """There is no such parked input."""

    def __init__(self, parked_id: ParkedId) -> None:
        super().__init__(f"no parked input {parked_id} in this store; see: agentbus parked list --all")


async def replay_parked(
    bus: Bus, store: Store, parked_id: ParkedId, *, scope: Scope, corrected: bytes | None = None
) -> str:
    """Publish a parked input again and return the queue it went to.

    Its own bytes go back to the queue that they came from, under the same message id, so that an input that was
    applied after all changes nothing. `corrected` bytes take the original's place; they go to the partition of the
    conversation that they name.

    Raises ParkedNotFound, Unroutable, PublishUnconfirmed; InvalidInput if the corrected bytes can't be read either.
    """
    parked = await _whole(store, parked_id)
    if corrected is None:
        queue, message = parked.queue, _original(parked)
    else:
        queue, message = _corrected(bus, corrected, scope)
    await _publish_again(bus, store, parked_id, queue, message)
    return queue


async def replay_conversation(bus: Bus, store: Store, conversation: ConversationId) -> int:
    """Publish all that waits of a conversation again, in the order in which it was parked; return how much.

    For a blocked conversation: what blocks it is first, and once it is applied the others follow.
    """
    waiting = [one async for one in iter_parked(store, ParkedStatus.PARKED, conversation=conversation)]
    for listed in sorted(waiting, key=lambda one: one.position):
        parked = await _whole(store, listed.parked_id)
        await _publish_again(bus, store, parked.parked_id, parked.queue, _original(parked))
    return len(waiting)


async def discard_parked(store: Store, parked_id: ParkedId) -> None:
    """Mark a parked input as not needed. Raises ParkedNotFound."""
    if not await store.set_parked_status(parked_id, ParkedStatus.DISCARDED):
        raise ParkedNotFound(parked_id)


async def _whole(store: Store, parked_id: ParkedId) -> ParkedInput:
    parked = await store.parked(parked_id)
    if parked is None:
        raise ParkedNotFound(parked_id)
    return parked


async def _publish_again(bus: Bus, store: Store, parked_id: ParkedId, queue: str, message: Message) -> None:
    # The status first: should the input fail once more, its parking sets it back to `parked` after this.
    await store.set_parked_status(parked_id, ParkedStatus.REPLAYED)
    try:
        await bus.publish("", queue, message)
    except AgentBusError:
        await store.set_parked_status(parked_id, ParkedStatus.PARKED)
        raise


def _original(parked: ParkedInput) -> Message:
    return Message(body=parked.body, message_id=parked.message_id)


def _corrected(bus: Bus, body: bytes, scope: Scope) -> tuple[str, Message]:
    routed = Inputs(bus, scope=scope).routed(InputEnvelope.from_bytes(body))
    return bus.topology.partition_queue(routed.partition), routed.message
