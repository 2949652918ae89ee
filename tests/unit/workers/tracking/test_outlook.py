"""What is likely to become of a session, by the figures that are kept of others."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from agentbus.contracts.ids import session_id_for
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.tracking import Tracked, Usage
from agentbus.storage.memory import MemoryStore
from agentbus.workers.domain.tracking.counters import hour_of
from agentbus.workers.tracking.kept import tracked_record, usage_record
from agentbus.workers.tracking.outlook import assess_returns, predict
from tests.harness.builders import a_conversation, a_head
from tests.harness.conversations import NOW

ME = a_conversation("me")


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    async with MemoryStore() as made:
        yield made


async def counted(store: MemoryStore, at: datetime, **counts: int) -> None:
    data: dict[str, Any] = {str(hour_of(at)): counts}
    key = f"{a_conversation()}/{at.date()}"
    await store.records.put(
        Record(kind=RecordKind.ROLLUP, key=key, group=at.date().isoformat(), created_at=at, data=data)
    )


async def silent_for(store: MemoryStore, hours: int) -> None:
    await store.records.put(tracked_record(ME, Tracked(version=1, heard_at=NOW - timedelta(hours=hours))))


async def test_a_return_is_as_likely_as_it_was_with_others_so_long_silent(store: MemoryStore) -> None:
    # Of 100 silences 60 were over within the hour, 30 after two hours, 10 after 30.
    await counted(store, NOW - timedelta(hours=5), **{"message.user": 100, "return.2": 30, "return.30": 10})
    await silent_for(store, 1)
    found = await predict(store, a_head(ME), NOW)
    assert (found.silent_hours, found.returns is not None) == (1, True)
    assert found.returns is not None
    # One more, of 40 that were silent for an hour and longer, is there by now: mine.
    assert found.returns.within == pytest.approx({"hour": 0.0, "day": 30 / 40, "week": 1.0})
    assert found.returns.median_hours == 2
    assert found.returns.based_on == 101


async def test_a_session_ends_as_others_did(store: MemoryStore) -> None:
    for number in range(40):
        started = NOW - timedelta(days=2)
        ended = started + timedelta(hours=5 if number < 30 else 30)
        session = session_id_for(a_conversation(), 1)
        await store.records.put(usage_record(Usage(session_id=session, started_at=started, ended_at=ended), 1))
    head = a_head(ME).model_copy(update={"created_at": NOW - timedelta(hours=4)})
    found = await predict(store, head, NOW)
    assert (found.age_hours, found.silent_hours, found.returns) == (4, None, None)
    assert found.ends is not None
    assert found.ends.within == pytest.approx({"hour": 0.0, "day": 0.75, "week": 1.0})


async def test_of_little_nothing_is_said(store: MemoryStore) -> None:
    await counted(store, NOW, **{"message.user": 5})
    await silent_for(store, 1)
    found = await predict(store, a_head(ME), NOW)
    assert (found.returns, found.ends) == (None, None)


async def test_chances_are_held_against_what_came_later(store: MemoryStore) -> None:
    for days in (60, 20):
        await counted(store, NOW - timedelta(days=days), **{"message.user": 100, "return.2": 30, "return.30": 10})
    found = await assess_returns(store, NOW, 24)
    assert found.cases == 100 + 40 + 10 + 10 + 10
    assert found.brier is not None
    assert found.same_for_all is not None
    assert found.brier < found.same_for_all
