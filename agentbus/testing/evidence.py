"""What a test run saw: the checker's input.

Times are seconds of any one clock that all observers share; on one machine `time.monotonic()` is one. What is `None`
was not observed, and the invariant that needs it is not checked.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.events import Commit
from agentbus.contracts.ids import ConversationId, InputId, Partition
from agentbus.contracts.parked import ParkedInput

SETTLE: float = 10.0
"""Seconds after a worker came or went within which partitions may be spread unevenly."""


@dataclass(frozen=True, slots=True)
class Published:
    """One attempt to publish an input."""

    conversation_id: ConversationId | None
    """None for an input that names none, such as an undecodable one: it has to be parked."""
    input_id: InputId
    confirmed: bool = True
    """Whether the publisher knows that it arrived. Without a confirm it may or may not have."""


@dataclass(frozen=True, slots=True)
class Handling:
    """A worker worked on a conversation, from `start` to `end`."""

    worker: str
    conversation_id: ConversationId
    start: float
    end: float | None = None
    """When it let go, or died; None if that was never seen."""
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class ZombieWindow:
    """A time in which a worker may not have known that its partitions had gone to others."""

    worker: str | None
    """None: any worker, as when the broker itself was away."""
    start: float
    end: float

    def covers(self, worker: str, start: float, end: float) -> bool:
        """Whether the window is one of `worker`'s and holds all of `start` to `end`."""
        return self.worker in {None, worker} and self.start <= start and end <= self.end


@dataclass(frozen=True, slots=True)
class Ownership:
    """Which partitions each live worker said it owned, at one moment."""

    at: float
    owned: Mapping[str, Collection[Partition]]


@dataclass(frozen=True, slots=True)
class QueueLeft:
    """What a queue held at the end."""

    queue: str
    ready: int
    unacked: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that a run saw."""

    published: Sequence[Published]
    """Everything that was published to the conversations looked at, in order; an input published again comes again."""
    commits: Mapping[ConversationId, Sequence[Commit]]
    """The committed history of each conversation, in the order of its log."""
    parked: Sequence[ParkedInput] = ()
    events: Sequence[EventEnvelope] | None = None
    """What one subscriber to all events received, in the order of arrival."""
    handlings: Sequence[Handling] | None = None
    zombies: Sequence[ZombieWindow] = ()
    ownership: Sequence[Ownership] | None = None
    changes: Sequence[float] = ()
    """When workers came or went, beyond what `ownership` shows by itself."""
    partitions: int | None = None
    """How many partitions there are: each has to have one owner once things have settled."""
    settle: float = SETTLE
    queues: Sequence[QueueLeft] | None = None
