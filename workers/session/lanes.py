"""One FIFO lane per conversation: what makes order hold while everything else runs side by side."""

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from time import monotonic

from agentbus.contracts.commands import RestoreCommit
from agentbus.contracts.envelope import Input, InputEnvelope
from agentbus.contracts.ids import ConversationId, Partition
from agentbus.contracts.queries import AnyQuery
from agentbus.workers.bus.port import Delivery
from agentbus.workers.domain.rules import BACKGROUND


@dataclass(slots=True, eq=False)
class Lease:
    """What came by one subscription may be worked on while its lease is valid; its commits carry its epoch."""

    partition: Partition
    epoch: int | None = None
    """The partition's epoch since the first turn; none before it."""
    valid: bool = True
    """Not any more once the subscription ended: its deliveries come again, perhaps to another worker."""


@dataclass(slots=True, eq=False)  # to make a frozen one, as for each message, takes five times as long
class Waiting:
    """An input that was read and waits for its turn."""

    delivery: Delivery
    given: Input
    lease: Lease
    traceparent: str | None = None
    published: datetime | None = None
    """When its publisher says that it was."""
    arrived: float = field(default_factory=monotonic)

    @classmethod
    def of(cls, delivery: Delivery, envelope: InputEnvelope, lease: Lease) -> "Waiting":
        """Pair what was delivered with what it says."""
        if isinstance(envelope.data, AnyQuery):
            raise TypeError("a query waits for no turn: it is answered beside the lanes")
        given = Input(envelope.input_id, envelope.data)
        return cls(delivery, given, lease, envelope.traceparent, envelope.time)

    @property
    def size(self) -> int:
        """Bytes of the input as it travelled."""
        return len(self.delivery.body)

    @property
    def is_apart(self) -> bool:
        """Whether it gets a turn of its own: what it brings is a commit already."""
        return isinstance(self.given.data, RestoreCommit)

    @property
    def is_background(self) -> bool:
        """Whether what other conversations are sent goes before it."""
        return type(self.given.data) in BACKGROUND


@dataclass(slots=True)
class Lane:
    """The inputs of one conversation, oldest first. While it is busy, its next inputs wait."""

    conversation: ConversationId
    partition: Partition
    waiting: deque[Waiting] = field(default_factory=deque)
    urgent: int = 0
    """How many of those waiting are no background: with one, the lane as a whole is none, as it keeps its order."""
    busy: bool = False
    since: float | None = None
    """When the first input of the turn under way arrived."""

    @property
    def oldest(self) -> float:
        """When its oldest input arrived, be it under way or waiting."""
        if self.since is not None:
            return self.since
        return self.waiting[0].arrived if self.waiting else monotonic()


@dataclass(frozen=True, slots=True)
class Turn:
    """A lane with the inputs taken from it, to be decided and committed together."""

    lane: Lane
    inputs: tuple[Waiting, ...]

    @property
    def lease(self) -> Lease:
        """The lease that its inputs came under."""
        return self.inputs[0].lease


class Lanes:
    """All lanes, and which of them are ready: not busy, with something waiting; those of background apart."""

    def __init__(self, *, max_inputs: int = 200, max_bytes: int = 4_000_000) -> None:
        self._lanes: dict[ConversationId, Lane] = {}
        self._ready: dict[ConversationId, Lane] = {}
        self._background: dict[ConversationId, Lane] = {}
        self._max_inputs = max_inputs
        self._max_bytes = max_bytes
        self.readiness = asyncio.Event()
        """Set while a lane is ready, be it of background."""
        self.emptiness = asyncio.Event()
        """Set while nothing waits and nothing is being worked on."""
        self.emptiness.set()

    def __len__(self) -> int:
        return len(self._lanes)

    @property
    def oldest_seconds(self) -> float:
        """For how long the oldest input has been here; 0 if there is none."""
        now = monotonic()
        return max((now - lane.oldest for lane in self._lanes.values()), default=0.0)

    @property
    def ready(self) -> int:
        """Lanes that are ready, without those of background."""
        return len(self._ready)

    @property
    def ready_background(self) -> int:
        """Lanes that are ready with nothing but background."""
        return len(self._background)

    def push(self, conversation: ConversationId, partition: Partition, waiting: Waiting) -> None:
        """Put an input at the end of its conversation's lane."""
        lane = self._lanes.get(conversation)
        if lane is None:
            lane = self._lanes[conversation] = Lane(conversation, partition)
            self.emptiness.clear()
        lane.waiting.append(waiting)
        lane.urgent += not waiting.is_background
        if not lane.busy:
            self._make_ready(lane)

    def begin(self, conversation: ConversationId, partition: Partition, waiting: Waiting) -> Turn | None:
        """Begin the turn of an input at once; None if others wait, or one of its conversation is under way."""
        if self._ready or conversation in self._lanes:
            return None
        lane = self._lanes[conversation] = Lane(conversation, partition, busy=True, since=waiting.arrived)
        self.emptiness.clear()
        return Turn(lane, (waiting,))

    def take(self, most: int, *, background: bool = False) -> list[Turn]:
        """Take what waits in up to `most` ready lanes, longest ready first; they are busy until given back.

        They are those of `background`, or the others.
        """
        ready = self._background if background else self._ready
        lanes = list(islice(ready.values(), most))
        for lane in lanes:
            del ready[lane.conversation]
            lane.busy = True
            lane.since = lane.waiting[0].arrived
        self._look()
        return [Turn(lane, tuple(self._next_inputs(lane))) for lane in lanes]

    def done(self, lane: Lane) -> None:
        """Say that the lane's turn is over: it is ready again, or gone if nothing waits in it."""
        lane.busy = False
        lane.since = None
        if lane.waiting:
            self._make_ready(lane)
            return
        self._lanes.pop(lane.conversation, None)
        if not self._lanes:
            self.emptiness.set()

    def drop(self, partition: Partition) -> None:
        """Forget what waits of a partition: it will be delivered again. What is being worked on goes on."""
        for lane in [lane for lane in self._lanes.values() if lane.partition == partition]:
            lane.waiting.clear()
            lane.urgent = 0
            if not lane.busy:
                self._ready.pop(lane.conversation, None)
                self._background.pop(lane.conversation, None)
                self.done(lane)
        self._look()

    def _make_ready(self, lane: Lane) -> None:
        if lane.urgent:
            self._background.pop(lane.conversation, None)
            self._ready[lane.conversation] = lane
        else:
            self._background[lane.conversation] = lane
        self.readiness.set()

    def _look(self) -> None:
        if not (self._ready or self._background):
            self.readiness.clear()

    def _next_inputs(self, lane: Lane) -> Iterable[Waiting]:
        room = self._max_bytes
        for taken in range(self._max_inputs):
            if not lane.waiting or (taken and (lane.waiting[0].size > room or lane.waiting[0].is_apart)):
                return
            apart = lane.waiting[0].is_apart
            waiting = lane.waiting.popleft()
            room -= waiting.size
            lane.urgent -= not waiting.is_background
            yield waiting
            if apart:
                return
