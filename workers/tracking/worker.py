"""The tracking worker: an event says whose log has gained something, the log says what. Any number run side by side."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from agentbus.contracts.clock import Clock
from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.events import SessionClosed, StateChanged, topics
from agentbus.contracts.ids import ConversationId, conversation_of, generation_of
from agentbus.contracts.members import WorkerKind
from agentbus.contracts.topology import Topology
from agentbus.storage.port import Store
from agentbus.workers.delivery.telemetry import WorkerMetrics
from agentbus.workers.reactive.coalescer import Coalescer
from agentbus.workers.reactive.handler import Handler
from agentbus.workers.reactive.time_loop import Share, TimeLoop
from agentbus.workers.reactive.worker import Events, ReactiveWorker
from agentbus.workers.tracking.catch_up import Tracker
from agentbus.workers.tracking.transitions import TransitionHandler, TransitionTaken

SUBSCRIPTION: Final = "tracking"
"""The durable subscription that all tracking workers share."""
TOPICS: Final = tuple(f"session.{topic}.*" for topic in topics())
"""All events."""

TRANSITIONS: Final = tuple(f"session.{kind.topic}.*" for kind in (StateChanged, SessionClosed))
"""The events by which sessions take ways of the state machine."""
HANDLER_SECONDS: Final = 30.0
"""Seconds that a handler of transitions may take; one that never returns would stop all that comes after."""

_TOGETHER: Final = 200
"""Conversations that are followed in one go."""
_OF_A_ROUND: Final = 100
"""Conversations that are looked at a second, in a round through all."""
_REST: Final = timedelta(hours=6)
"""Between two rounds."""
_REMEMBERED: Final = 20_000
"""Conversations of which it is remembered how far they were followed: events that were followed by then are passed
over without a look into the store."""


class TrackingHandler(Handler):
    """Follows the conversations that something happened in. Events of the same moment are one look at their log."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._together = Coalescer[ConversationId](self._follow, most=_TOGETHER)
        self._seen = OrderedDict[ConversationId, tuple[int, int]]()

    async def close(self) -> None:
        """Stop. Idempotent."""
        await self._together.close()

    async def handle(self, event: EventEnvelope) -> None:
        session = event.data.session_id
        conversation = conversation_of(session)
        if (generation_of(session), event.data.sequence) > self._seen.get(conversation, (0, 0)):
            await self._together.do(conversation)

    async def _follow(self, conversations: list[ConversationId]) -> None:
        for conversation, tracked in (await self._tracker.catch_up(conversations)).items():
            self._seen[conversation] = (tracked.generation, tracked.sequence)
            self._seen.move_to_end(conversation)
        while len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)


class TransitionTeller(Handler):
    """Tells one handler of the transitions whose way names it."""

    def __init__(self, name: str, handler: TransitionHandler) -> None:
        self._name = name
        self._handler = handler

    async def handle(self, event: EventEnvelope) -> None:
        taken = TransitionTaken.of(event.data)
        if taken is not None and taken.handler == self._name:
            async with asyncio.timeout(HANDLER_SECONDS):
                await self._handler(taken)


class Round:
    """Looks through all conversations, some at a time, for those of which no event came; then rests.

    What was there before the first tracking worker is followed by that, and what happened while an event was lost.
    """

    def __init__(self, store: Store, tracker: Tracker, clock: Clock) -> None:
        self._store = store
        self._tracker = tracker
        self._clock = clock
        self._after: ConversationId | None = None
        self._again: datetime | None = None

    async def go_on(self) -> None:
        """Follow the next few."""
        now = self._clock.now()
        if self._again is not None and now < self._again:
            return
        found = await self._store.log.conversations(after=self._after, limit=_OF_A_ROUND)
        await self._tracker.catch_up(found)
        over = len(found) < _OF_A_ROUND
        self._after, self._again = (None, now + _REST) if over else (found[-1], None)


class TrackingWorker(ReactiveWorker):
    """Times are in seconds: `interval` between two looks for what no event told of, `beat` and `ttl` of heartbeats.

    `told` are the events of handlers of transitions, a subscription each.
    """

    def __init__(
        self,
        store: Store,
        events: Events,
        handler: TrackingHandler,
        tracker: Tracker,
        *,
        clock: Clock,
        topology: Topology,
        told: Sequence[Events] = (),
        interval: float = 1.0,
        beat: float = 1.0,
        ttl: float = 4.0,
        metrics: WorkerMetrics | None = None,
    ) -> None:
        self._handler = handler
        self._round = Round(store, tracker, clock)
        super().__init__(
            WorkerKind.TRACKING,
            Share(
                store,
                WorkerKind.TRACKING.group(topology.prefix),
                topology.partitions,
                clock=clock,
                interval=beat,
                ttl=ttl,
            ),
            events=(events, *told),
            loops=(TimeLoop("follow what no event told of", self._turn, interval=interval),),
            metrics=metrics or WorkerMetrics(),
        )

    async def _turn(self) -> bool:
        if self._share.leads:
            await self._round.go_on()
        return False

    async def _let_go(self) -> None:
        await self._handler.close()
