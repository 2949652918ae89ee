"""Mutants: workers in which one of the mechanisms that keep the promises is turned off."""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from enum import StrEnum
from typing import Any

from agentbus.contracts.errors import StoreDamaged
from agentbus.contracts.events import Commit
from agentbus.contracts.ids import ConversationId, InputId
from agentbus.contracts.session import SessionState
from agentbus.storage.mongo.base import BY_INPUT, MongoDatabase
from agentbus.storage.mongo.log import MongoLog
from agentbus.workers.bus.rabbit.connections import close_channel
from agentbus.workers.bus.rabbit.consumers import RabbitConsumer
from agentbus.workers.delivery.loop_watch import LoopWatch
from agentbus.workers.session import live
from agentbus.workers.session.announcer import Announcer
from agentbus.workers.session.lanes import Lane, Lanes, Lease, Waiting
from agentbus.workers.session.live import LiveStates
from agentbus.workers.session.plan import Plan
from tests.harness.failpoints import patch

_LATE: float = 1.5
"""Seconds after which a hand-back that only cancelled its consumer closes the channel too."""


class Mutant(StrEnum):
    """What is turned off."""

    FENCING = "fencing"
    """Neither later epochs are noticed, nor the end of a lease, nor a loop that stood still."""
    DEDUPE = "durable_dedupe"
    """Inputs applied before are remembered in the process alone."""
    HAND_BACK = "close_channel_hand_back"
    """A hand-back cancels the consumer and closes its channel later."""
    LANE_ORDER = "lane_order"
    """What waits in a lane is taken newest first."""
    ACK_LAST = "ack_after_publish"
    """Inputs are acknowledged before their events are announced."""


def mutate(mutant: Mutant) -> None:
    """Turn a mechanism off in this process."""
    match mutant:
        case Mutant.FENCING:
            _without_fencing()
        case Mutant.DEDUPE:
            _without_durable_dedupe()
        case Mutant.HAND_BACK:
            patch(RabbitConsumer, close=_cancel)
        case Mutant.LANE_ORDER:
            patch(Lanes, _next_inputs=_newest_first)
        case Mutant.ACK_LAST:
            _with_early_acks()


def _without_fencing() -> None:
    get = LiveStates.get

    async def without_epochs(
        self: LiveStates, conversations: Collection[ConversationId]
    ) -> dict[ConversationId, SessionState | StoreDamaged]:
        states = await get(self, conversations)
        return {
            key: state.model_copy(update={"epoch": 0}) if isinstance(state, SessionState) else state
            for key, state in states.items()
        }

    patch(LiveStates, get=without_epochs)
    patch(LoopWatch, stalled=lambda _: False)
    patch(Lease, valid=property(lambda _: True, lambda _, __: None))


def _without_durable_dedupe() -> None:
    start, heads_of = MongoDatabase.start, live._heads_of

    async def start_without_index(self: MongoDatabase) -> None:
        await start(self)
        indexes: Any = self.collection("log")
        await indexes.drop_index(BY_INPUT)

    async def none_known(_: MongoLog, __: ConversationId, ___: Collection[InputId]) -> dict[InputId, Commit]:
        return {}

    def forgetful(*loaded: Any) -> list[SessionState]:
        return [head.model_copy(update={"recent_inputs": ()}) for head in heads_of(*loaded)]

    patch(MongoDatabase, start=start_without_index)
    patch(MongoLog, commits_of_inputs=none_known)
    patch(live, _heads_of=forgetful)


async def _cancel(self: RabbitConsumer) -> None:
    """End the consumer as one would without knowing better."""
    if self._running:
        self._running = False
        self._on_end(self)
        self._acks.flush()
        for tag in list(self._channel.consumers):
            await self._channel.basic_cancel(tag)
        asyncio.get_running_loop().call_later(_LATE, _close_later, self)


def _close_later(consumer: RabbitConsumer) -> None:
    consumer._cleanup = asyncio.ensure_future(close_channel(consumer._channel))


def _newest_first(self: Lanes, lane: Lane) -> Iterable[Waiting]:
    for _ in range(self._max_inputs):
        if lane.waiting:
            yield lane.waiting.pop()


def _with_early_acks() -> None:
    announce = Announcer.announce

    async def ack_first(self: Announcer, plans: Sequence[Plan]) -> None:
        for plan in plans:
            for answer in plan.answers:
                await answer.waiting.delivery.ack()
        await asyncio.sleep(0.05)
        await announce(self, plans)

    patch(Announcer, announce=ack_first)
