"""Parking: an input that failed for good leaves the flow, with its reason and its original bytes.

The worker publishes it, confirmed, to the parking queue and acknowledges it; the recorder moves it from there into
the store, where operators find it. What the broker dead-letters takes the same way.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from time import time_ns
from typing import Final

from agentbus.contracts.base import MAX_INTEGER
from agentbus.contracts.clock import Clock
from agentbus.contracts.ids import ConversationId, is_conversation
from agentbus.contracts.parked import ParkedInput, parked_id_for
from agentbus.contracts.telemetry import Action
from agentbus.contracts.text import first_bytes, last_bytes
from agentbus.contracts.topology import Topology
from agentbus.storage.log_lines import Logger
from agentbus.storage.port import Store
from agentbus.workers.bus.port import DEATH_QUEUE, DEATH_REASON, Bus, Delivery, Message
from agentbus.workers.bus.pump import Pump
from agentbus.workers.bus.supervision import SupervisedConsumer
from agentbus.workers.concurrency import in_turn
from agentbus.workers.delivery.failures import Failure, unforeseen
from agentbus.workers.delivery.retry import keep_trying
from agentbus.workers.delivery.telemetry import WorkerMetrics
from agentbus.workers.delivery.trace_contexts import trace_of
from agentbus.workers.delivery.trust import are_trusted, passed_on
from agentbus.workers.outages import sparingly

_QUEUE, _CONVERSATION, _CODE, _REASON, _STACK, _ATTEMPTS, _POSITION = (
    "x-agentbus-queue",
    "x-agentbus-conversation",
    "x-agentbus-code",
    "x-agentbus-reason",
    "x-agentbus-stack",
    "x-agentbus-attempts",
    "x-agentbus-position",
)
DEAD_LETTERED: Final = "dead_lettered"
"""The code of an input that the broker, not a worker, took out of the flow."""

_PREFETCH: Final = 50
_LONGEST_REASON: Final = 2_000
_LONGEST_STACK: Final = 16_000
"""Bytes. Headers of one message have to fit into a frame of 131,072 bytes."""

_MOST_ATTEMPTS: Final = 2**31
"""More than anything is delivered; one more for each time that it is parked again has to fit beside it."""

_log = Logger(__name__)


class _Positions:
    """Numbers what this process parks: by the time, and upwards though the clock is set back."""

    def __init__(self) -> None:
        self._last = 0

    def next(self) -> int:
        """Return nanoseconds since 1970, more than were returned before."""
        self._last = max(time_ns(), self._last + 1)
        return self._last


_positions = _Positions()


@dataclass(frozen=True, slots=True)
class Failed:
    """A delivery that is to be parked, and why.

    The `conversation` is known to whoever has read the body: nobody reads it again.
    """

    delivery: Delivery
    failure: Failure
    conversation: ConversationId | None = None
    cause: str | None = None
    """The trace context that it came with, as far as it was read."""


async def park(bus: Bus, delivery: Delivery, failure: Failure, conversation: ConversationId | None = None) -> None:
    """Publish the delivery to the parking queue and, once that is confirmed, acknowledge it."""
    await park_all(bus, [Failed(delivery, failure, conversation)])


async def park_all(bus: Bus, failed: Sequence[Failed]) -> None:
    """Park deliveries in their order, as `park` does each, published together: one wait for all of their confirms."""
    left = [(one, ("", _parking(one))) for one in failed]

    async def publish_left() -> None:
        nonlocal left
        outcomes = await bus.publish_many(bus.topology.parked, [message for _, message in left])
        for (one, _), error in zip(left, outcomes, strict=True):
            if error is None:
                await one.delivery.ack()
        left = [pair for pair, error in zip(left, outcomes, strict=True) if error]
        if left:
            raise next(error for error in outcomes if error)

    if left:
        await keep_trying("park", publish_left)
    for one in failed:
        _tell(one)


def _parking(one: Failed) -> Message:
    delivery, error = one.delivery, one.failure.error
    return Message(
        body=delivery.body,
        message_id=delivery.message_id,
        headers={
            **passed_on(delivery),
            _QUEUE: delivery.queue,
            _CONVERSATION: one.conversation or "",
            _CODE: error.code,
            _REASON: first_bytes(str(error), _LONGEST_REASON),
            _STACK: last_bytes(one.failure.stack, _LONGEST_STACK),
            _ATTEMPTS: delivery.attempts,
            _POSITION: _positions.next(),
        },
    )


def _tell(one: Failed) -> None:
    delivery, code = one.delivery, one.failure.error.code
    more = sparingly(Action.INPUT_PARKED, code)
    if more is not None:
        context = {"message_id": delivery.message_id, **more, **trace_of(one.cause)}
        _log.warning(Action.INPUT_PARKED, queue=delivery.queue, code=code, **context)


async def park_failed(bus: Bus, delivery: Delivery, error: Exception) -> None:
    """Park a delivery that its handler failed with in a way nobody foresaw, as `park` does."""
    await park(bus, delivery, unforeseen(error))


class ParkingRecorder:
    """Moves parked inputs from the parking queue into the store; any number of workers share the queue.

    `trusted` are the broker users that may send commands; none given: all.
    """

    def __init__(
        self,
        bus: Bus,
        store: Store,
        clock: Clock,
        *,
        metrics: WorkerMetrics | None = None,
        trusted: Collection[str] = (),
    ) -> None:
        self._topology = bus.topology
        self._trusted = trusted
        self._store = store
        self._metrics = metrics or WorkerMetrics()
        self._clock = clock
        self._pump = Pump(self._record, self._leave)
        queue = bus.topology.parked
        self._consumer = SupervisedConsumer(
            queue, partial(bus.consume, queue, self._pump.push, prefetch=_PREFETCH), on_lost=self._pump.forget
        )

    async def start(self) -> None:
        """Begin to record."""
        await self._pump.start()
        await self._consumer.start()

    async def close(self) -> None:
        """Stop: what is not recorded yet stays in the queue."""
        await in_turn(self._consumer.close, self._pump.close)

    async def _record(self, batch: list[Delivery]) -> None:
        records = [self._read(delivery) for delivery in batch]
        await keep_trying("record parked inputs", self._store.parked.put_many, records)
        for delivery, parked in zip(batch, records, strict=True):
            await delivery.ack()
            self._metrics.parked.inc()
            more = sparingly(Action.PARKED_RECORDED)
            if more is not None:
                _log.info(Action.PARKED_RECORDED, parked_id=parked.parked_id, code=parked.code, **more)

    def _read(self, delivery: Delivery) -> ParkedInput:
        parked = read_parked(delivery, self._clock)
        if are_trusted(delivery, self._trusted):
            return parked
        return _distrusted(parked, self._topology, told_by_worker=delivery.user in self._trusted)

    @staticmethod
    async def _leave(_: Delivery, error: Exception) -> None:
        """Leave what can't be recorded in its queue: there is nowhere else to take it."""
        raise error


def read_parked(delivery: Delivery, clock: Clock) -> ParkedInput:
    """Read what parked an input out of its headers: ours, or those with which the broker dead-letters.

    What is dead-lettered has its publisher's headers, which may look like ours: there the broker's alone count. The
    body is not read: it may be what killed the worker.
    """
    death = delivery.headers.get(DEATH_REASON)
    headers = {} if death is not None else delivery.headers
    return ParkedInput(
        parked_id=parked_id_for(delivery.message_id, delivery.body),
        message_id=delivery.message_id,
        conversation_id=_conversation(headers.get(_CONVERSATION)),
        queue=str(headers.get(_QUEUE) or delivery.headers.get(DEATH_QUEUE) or delivery.queue),
        code=str(headers.get(_CODE, DEAD_LETTERED)),
        reason=str(headers.get(_REASON, f"dead-lettered by the broker: {death or 'unknown'}")),
        stack=str(headers.get(_STACK, "")),
        attempts=_number(headers.get(_ATTEMPTS), least=1, most=_MOST_ATTEMPTS),
        parked_at=clock.now(),
        position=_number(headers.get(_POSITION), least=0, most=MAX_INTEGER),
        size=len(delivery.body),
        body=delivery.body,
    )


def _distrusted(parked: ParkedInput, topology: Topology, *, told_by_worker: bool) -> ParkedInput:
    """Return what somebody parked, or sent, who may give no commands: a replay treats it as come by the ingress.

    Otherwise it would be the operator who replays it that gives the command. Which conversation it is of counts if a
    worker says so: one that waits for it goes on once it is replayed.
    """
    queue = topology.ingress if topology.is_partition(parked.queue) else parked.queue
    conversation = parked.conversation_id if told_by_worker else None
    return parked.model_copy(update={"queue": queue, "conversation_id": conversation})


def _number(header: str | int | None, *, least: int, most: int) -> int:
    return min(max(least, header), most) if isinstance(header, int) else least


def _conversation(header: str | int | None) -> ConversationId | None:
    """Return the conversation that a header names; None for anything else: whoever may publish here may write there."""
    return ConversationId(header) if isinstance(header, str) and is_conversation(header) else None
