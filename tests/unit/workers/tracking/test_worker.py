"""The tracking worker: events say whose log to follow; repeats and what was followed already cost no look at it."""

from collections.abc import AsyncIterator, Collection
from datetime import timedelta
from random import Random

import pytest

from agentbus.contracts.clock import ManualClock
from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.events import AnyEvent
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.tracking import Tracked
from agentbus.storage.memory import MemoryStore
from agentbus.workers.tracking import worker as worker_module
from agentbus.workers.tracking.catch_up import Tracker
from agentbus.workers.tracking.kept import read_tracked
from agentbus.workers.tracking.worker import Round, TrackingHandler
from tests.harness.builders import a_commit, a_conversation, begun
from tests.harness.conversations import CONVERSATION
from tests.harness.usage_logs import a_log


class Counting(Tracker):
    """Counts its looks."""

    looks = 0

    async def catch_up(self, conversations: Collection[ConversationId]) -> dict[ConversationId, Tracked]:
        self.looks += 1
        return await super().catch_up(conversations)


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    async with MemoryStore() as made:
        yield made


async def events_in(store: MemoryStore) -> list[AnyEvent]:
    commits = a_log(Random(6), 20, erasures=False)
    for commit in commits:
        await store.log.append([commit])
    return [event for commit in commits for event in commit.events]


async def test_an_event_brings_all_that_the_log_has_and_its_repeats_nothing(store: MemoryStore) -> None:
    events = await events_in(store)
    tracker = Counting(store)
    handler = TrackingHandler(tracker)

    await handler.handle(EventEnvelope.of(events[0]))
    assert (await read_tracked(store, CONVERSATION)).sequence == events[-1].sequence
    for event in (*events, *reversed(events)):
        await handler.handle(EventEnvelope.of(event))

    assert tracker.looks == 1
    await handler.close()


async def test_what_no_event_told_of_is_followed_once_a_round(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "_OF_A_ROUND", 1)
    clock = ManualClock()
    events = await events_in(store)
    other = a_conversation()
    await store.log.append([a_commit(other, events=[begun(other)])])
    tracker = Counting(store)
    going = Round(store, tracker, clock)

    for _ in range(3):
        await going.go_on()
    assert (await read_tracked(store, CONVERSATION)).sequence == events[-1].sequence
    assert (await read_tracked(store, other)).sequence == 1
    await going.go_on()
    assert tracker.looks == 3, "it rests"
    clock.advance(timedelta(hours=6))
    await going.go_on()
    assert tracker.looks == 4


async def test_what_is_remembered_is_bounded(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "_REMEMBERED", 0)
    [first, *_] = await events_in(store)
    tracker = Counting(store)
    handler = TrackingHandler(tracker)
    for _ in range(2):
        await handler.handle(EventEnvelope.of(first))
    assert tracker.looks == 2
    await handler.close()
