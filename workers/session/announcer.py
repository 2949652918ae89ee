"""The announcer: publishes what was committed, and does not let one who refuses it stop the others."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Final

from agentbus.contracts.clock import Clock
from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.errors import BusError, PublishUnconfirmed
from agentbus.contracts.events import AnyEvent, Commit
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.members import WorkerId
from agentbus.storage.port import Store
from agentbus.workers.bus.port import Bus, Message
from agentbus.workers.concurrency import raise_if_cancelled
from agentbus.workers.delivery.telemetry import WorkerMetrics
from agentbus.workers.domain.disclosure import announced, is_news
from agentbus.workers.outages import Trouble
from agentbus.workers.session.arrears import Arrears
from agentbus.workers.session.plan import Plan

PATIENCE: Final = 5.0
"""Seconds for which a round tries to announce. While something is owed already, it tries once."""

_FIRST_WAIT: Final = 0.05
_LONGEST_WAIT: Final = 1.0


@dataclass(slots=True, eq=False)  # to make a frozen one, as for each event, takes five times as long
class _Outgoing:
    conversation: ConversationId
    version: int
    topic: str
    message: Message


class Announcer:
    """Announces the events of plans that were carried out, at once or, if the broker refuses some, later and in order.

    A subscriber's queue may be full and refuse more, the broker may be out of memory: that is waited out for
    `PATIENCE` seconds, and then the conversations that it concerns are put into the arrears; commits go on.
    """

    def __init__(
        self,
        bus: Bus,
        store: Store,
        clock: Clock,
        *,
        metrics: WorkerMetrics,
        mine: Callable[[ConversationId], bool],
        lives: Callable[[WorkerId], Awaitable[bool]],
        secret_keys: Collection[str],
        writer: WorkerId | None = None,
    ) -> None:
        self._bus = bus
        self._metrics = metrics
        self._secret_keys = frozenset(secret_keys)
        self._patience = PATIENCE
        self.arrears = Arrears(
            store, clock, self._publish_commits, mine=mine, lives=lives, heard_until=bus.heard_until, writer=writer
        )

    async def announce(self, plans: Sequence[Plan]) -> None:
        """Announce what `plans` caused, now or the first time. On return it is announced, or owed for sure."""
        due = [plan for plan in plans if not self.arrears.holds_back(_conversation(plan), plan.after.version)]
        left = [one for plan in due for one in self._events_of(plan)]
        self._metrics.events.inc(len(left))
        if left and (late := await self._publish(left)):
            firsts: dict[ConversationId, int] = {}
            for one in left:
                if one.conversation in late:
                    firsts[one.conversation] = min(one.version, firsts.get(one.conversation, one.version))
            await self.arrears.put_off(firsts)
            for plan in due:
                self.arrears.holds_back(_conversation(plan), plan.after.version)

    async def _publish(self, left: Sequence[_Outgoing]) -> set[ConversationId]:
        """Publish events, those that were not confirmed again, in their order; return whose had to be left."""
        end = monotonic() + (0.0 if len(self.arrears) else self._patience)
        trouble, wait, late = Trouble("announce"), _FIRST_WAIT, set[ConversationId]()
        try:
            while failed := await self._attempt(left):
                trouble.failed(failed[0][1])
                left = [one for one, _ in failed]
                if monotonic() < end:
                    await asyncio.sleep(random.uniform(0, wait))
                    wait = min(2 * wait, _LONGEST_WAIT)
                else:
                    late |= _refused(failed)
                    left = [one for one in left if one.conversation not in late]
        finally:
            trouble.over()
        return late

    async def _attempt(self, left: Sequence[_Outgoing]) -> list[tuple[_Outgoing, BusError]]:
        messages = [(one.topic, one.message) for one in left]
        try:
            outcomes = await self._bus.publish_many(self._bus.topology.events, messages, mandatory=False)
        except BusError as error:
            raise_if_cancelled()
            outcomes = [error] * len(left)
        return [(one, error) for one, error in zip(left, outcomes, strict=True) if error]

    async def _publish_commits(self, commits: Sequence[Commit]) -> int:
        events = [
            self._outgoing(commit.conversation_id, commit.version, event)
            for commit in commits
            for event in commit.events
            if is_news(event, commit)
        ]
        failed = await self._attempt(events) if events else []
        if not failed:
            self._metrics.events.inc(len(events))
            return len(commits)
        return sum(commit.version < failed[0][0].version for commit in commits)

    def _events_of(self, plan: Plan) -> Iterator[_Outgoing]:
        repeated = {event.event_id: one.version for one in plan.repeated for event in one.events}
        for answer in plan.answers:
            for event in filter(is_news, answer.events):
                if not self._bus.hears(event.routing_key):
                    self._metrics.events.inc()  # It is announced: nobody listens.
                    continue
                version = repeated.get(event.event_id, plan.after.version) if repeated else plan.after.version
                yield self._outgoing(_conversation(plan), version, event, answer.cause or answer.waiting.traceparent)

    def _outgoing(
        self, conversation: ConversationId, version: int, event: AnyEvent, traceparent: str | None = None
    ) -> _Outgoing:
        body = EventEnvelope.bytes_of(announced(event, self._secret_keys), traceparent)
        return _Outgoing(conversation, version, event.routing_key, Message(body=body, message_id=event.event_id))


def _conversation(plan: Plan) -> ConversationId:
    return plan.before.conversation_id


def _refused(failed: Sequence[tuple[_Outgoing, BusError]]) -> set[ConversationId]:
    """Return whose events somebody refuses; all, if it is the broker that takes none."""
    unconfirmed = {one.conversation for one, error in failed if isinstance(error, PublishUnconfirmed)}
    return unconfirmed or {one.conversation for one, _ in failed}
